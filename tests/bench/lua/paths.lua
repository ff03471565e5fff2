-- As many requests as the first argument says, of /group-G/item-N for N below the second, with a parameter behind
-- every second; in an order no cache of the neighbour can guess.
local requests = {}
local number = 0
local count

function init(args)
  count = tonumber(args[1])
  local step = tonumber(args[2]) / count
  for each = 0, count - 1 do
    local item = each * step + each % step
    local path = string.format("/group-%d/item-%d", item % 10, item)
    requests[each] = wrk.format("GET", item % 2 == 1 and path .. "/42" or path)
  end
end

function request()
  number = (number + 7919) % count
  return requests[number]
end
