--- The error classes of `asyncio.http`. They are the library's own: the same in all threads.
-- @module asyncio.http.errors
local core = require "asyncio.core"

local function class(parent, name, text)
  local new = core.library_class(parent, name)
  new.text = text
  return new
end

local HTTPError = class(core.Error, "HTTPError", "HTTP failed")

return {
  HTTPError = HTTPError,
  ProtocolError = class(HTTPError, "ProtocolError", "the peer broke the rules of HTTP"),
  BodyTooLarge = class(HTTPError, "BodyTooLarge", "the body is too large"),
  TooManyRedirects = class(HTTPError, "TooManyRedirects", "too many redirects"),
  HTTPStatusError = class(HTTPError, "HTTPStatusError", "the answer is an error"),
  WebSocketError = class(HTTPError, "WebSocketError", "the WebSocket could not be opened"),
}
