-- No two heads alike: path, query, a cookie and a trace id change with every request.
local number = 0

function request()
  number = number + 1
  wrk.headers["Cookie"] = string.format("session=%08x; theme=dark", number * 2654435761 % 4294967296)
  wrk.headers["X-Trace-Id"] = string.format("%016x", number * 40503)
  return wrk.format("GET", string.format("/orders/%d/items?page=%d&q=%x", number, number % 97, number * 31))
end
