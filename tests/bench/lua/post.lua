-- POST with a body of as many bytes as the argument says.
function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/octet-stream"
  wrk.body = string.rep("x", tonumber(args[1]))
  request_bytes = wrk.format()
end

function request()
  return request_bytes
end
