-- http_ours.lua PORT - an HTTP server, with asyncio.http.
local asyncio = require "asyncio"
local http = require "asyncio.http"

local JSON = { ["Content-Type"] = "application/json" }
local TEXT = '{"id": 12345, "name": "lua-asyncio", "tags": ["a", "b", "c"], '
  .. '"text": "a hundred bytes of JSON", "n": 12}'

local routes = {
  ["/"] = function() return "hello world\n" end,
  ["/json"] = function() return { headers = JSON, body = TEXT } end,
  ["/post"] = function(request) return tostring(#request:read()) end,
}

local function handler(request)
  local route = routes[request.path]
  if route then return route(request) end
  return http.file(request, request.path, arg[2])
end

asyncio.run(function()
  local server <close> = http.serve(handler, "127.0.0.1", tonumber(arg[1]), { backlog = 4096 })
  server:serve_forever()
end)
