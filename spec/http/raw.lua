-- raw.lua - servers for the specs of the client that say their answers byte by byte.
local t = require "helper"

local asyncio = t.asyncio
local raw = {}

local function read_chunks(reader)
  local parts = {}
  while true do
    local line = reader:readuntil "\r\n"
    if not line then return nil end
    local size = tonumber(line:match "^%x+", 16)
    if size == 0 then
      reader:readuntil "\r\n"
      return table.concat(parts), #parts
    end
    parts[#parts + 1] = reader:readexactly(size)
    reader:readexactly(2)
  end
end

local function read_body(reader, headers)
  local length = headers["content-length"]
  if length then return tonumber(length) > 0 and reader:readexactly(tonumber(length)) or "" end
  if headers["transfer-encoding"] then return read_chunks(reader) end
end

--- The next request of a connection: its `line`, `headers` (small letters), `head` as it came, `body`; nil at the end.
-- opts: `body = false`: it stays
function raw.request(reader, opts)
  local ok, head = asyncio.pcall(reader.readuntil, reader, "\r\n\r\n")
  if not ok or not head then return nil end
  local request = { line = head:match "^[^\r]*", head = head, headers = {} }
  request.method, request.target = request.line:match "^(%S+) (%S+)"
  for name, value in head:gmatch "\r\n([^:\r]+): ?([^\r]*)" do request.headers[name:lower()] = value end
  if opts and opts.body == false then return request end
  ok, request.body = asyncio.pcall(read_body, reader, request.headers)
  return ok and request or nil -- its client has gone
end

--- An answer with that body.
function raw.answer(body, headers, status)
  return ("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s"):format(status or "200 OK", headers or "", #body, body)
end

--- Its address as a URL.
function raw.url(server, path) return "http://" .. tostring(server:sockets()[1]) .. (path or "/") end

--- A server that calls fn(request, writer, reader, number of the connection) for each request; a string that it
-- returns is the answer, false ends the connection.
function raw.serve(fn, opts)
  local connections = 0
  return asyncio.start_server(function(reader, writer)
    connections = connections + 1
    local number = connections
    for request in raw.request, reader do
      local answer = fn(request, writer, reader, number)
      if answer == false then return end
      if answer then writer:send(answer) end
    end
  end, "127.0.0.1", 0, opts)
end

--- Calls fn(url, server, requests) with a server for which `answer` (a string, or as raw.serve's) speaks. On the
-- virtual clock.
function raw.with(answer, fn, clock)
  t[clock or "run"](function(reports)
    local requests = {}
    local server <close> = raw.serve(function(request, ...)
      requests[#requests + 1] = request
      if type(answer) == "string" then return answer end
      return answer(request, ...)
    end)
    fn(raw.url(server), server, requests, reports)
    server:abort_clients()
  end)
end

--- An answer that is sent as it is, whereupon the connection ends.
function raw.once(answer)
  return function(_, writer)
    writer:send(answer)
    return false
  end
end

return raw
