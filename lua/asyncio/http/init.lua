--- HTTP/1.1: a client and a server.
--
-- The errors are classes below `asyncio.Error`, and fields of this module:
--
-- - `HTTPError`: a handler ends with it, as `http.abort` does; `status`
--   - `ProtocolError`: the peer broke the rules of HTTP, or what it sent was cut; `partial`: what had come
--     of a body
--   - `BodyTooLarge`: a body has more than `limit` bytes
--   - `TooManyRedirects`: `response` is the last answer
--   - `HTTPStatusError`: `response:raise_for_status()` says so; `response`, `status`
--   - `WebSocketError`: the server refused; `response`
--
-- A TimeoutError of this module has a `phase`: `"pool"` (it waited for another request to end), `"connect"`,
-- `"tls"`, `"send"`, `"headers"` or `"body"`.
-- @module asyncio.http
-- @usage
-- local http = require "asyncio.http"
-- print(asyncio.isinstance(http.BodyTooLarge { limit = 10 }, http.HTTPError)) --> true
local errors = require "asyncio.http.errors"

local http = {}
for name, class in pairs(errors) do http[name] = class end

-- Each is loaded when it is first used.
local LATER = {
  serve = "asyncio.http.server",
  abort = "asyncio.http.server",
  file = "asyncio.http.file",
  request = "asyncio.http.client",
  get = "asyncio.http.client",
  post = "asyncio.http.client",
  put = "asyncio.http.client",
  patch = "asyncio.http.client",
  delete = "asyncio.http.client",
  head = "asyncio.http.client",
  Client = "asyncio.http.client",
  websocket = "asyncio.http.opening",
}

local function load_part(module, name)
  local part = LATER[name] and require(LATER[name])
  if part then part = part[name] end
  if part then rawset(module, name, part) end
  return part
end

return setmetatable(http, {
  __index = load_part,
  __pairs = function(module)
    for name in pairs(LATER) do load_part(module, name) end
    return next, module
  end,
})
