-- /group-G/item-N for N below the argument, in an order that a cache cannot guess.
local requests = {}
local number = 0
local count

function init(args)
  count = tonumber(args[1])
  for each = 0, count - 1 do
    requests[each] = wrk.format("GET", string.format("/group-%d/item-%d", each % 100, each))
  end
end

function request()
  number = (number + 7919) % count
  return requests[number]
end
