-- proxy.lua - a reverse proxy: lua5.4 proxy.lua [http://127.0.0.1:8081 [port]]
--
-- Bodies go through as they come, both ways, and who is slow slows the other. Connections to the server
-- behind it are kept.
local asyncio = require "asyncio"
local http = require "asyncio.http"

local base, port = arg[1] or "http://127.0.0.1:8081", tonumber(arg[2] or 8080)

-- What is said to the next one only: RFC 9110, 7.6.1.
local HOP_BY_HOP = {}
for name in ("connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
  .. "transfer-encoding upgrade expect"):gmatch "%S+" do
  HOP_BY_HOP[name] = true
end

--- What is passed on, as a list: also not what the field Connection names.
local function passed_on(headers)
  local dropped, list = setmetatable({}, { __index = HOP_BY_HOP }), {}
  for name in (headers.connection or ""):lower():gmatch "[^%s,]+" do dropped[name] = true end
  for name, value in pairs(headers) do
    if not dropped[name:lower()] then list[#list + 1] = { name, value } end
  end
  return list
end

local function ask(client, request)
  local headers = passed_on(request.headers)
  headers[#headers + 1] = { "X-Forwarded-For", request.peer.host }
  local length = request.content_length
  local has_body = length ~= 0 and (length or request.headers["Transfer-Encoding"])
  request.max_body = false -- it doesn't stay here
  return client:request {
    url = base .. request.target, method = request.method, headers = headers,
    body = has_body and request:blocks() or nil, max_redirects = 0,
  }
end

local function main()
  local client <close> = http.Client { timeout = 30, connect_timeout = 5, max_connections_per_host = 100 }

  local server <close> = http.serve(function(request)
    local ok, response = asyncio.pcall(ask, client, request)
    if ok then
      return { status = response.status, headers = passed_on(response.headers), body = response }
    elseif asyncio.isinstance(response, asyncio.TimeoutError) then
      http.abort(504)
    elseif asyncio.isinstance(response, asyncio.OSError) or asyncio.isinstance(response, http.HTTPError) then
      http.abort(502)
    end
    error(response, 0)
  end, "127.0.0.1", port, { stop_grace = 20 })

  print(("From http://127.0.0.1:%d to %s"):format(server:sockets()[1].port, base))
  io.stdout:flush()
  server:serve_forever()
end

local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
local ok, err = pcall(runner.run, runner, main)
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
