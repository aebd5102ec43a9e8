--- The grammar of HTTP/1.1 without input and output: bytes in, events out, and the other way round.
--
-- `asyncio.http` stands on it; so may other servers, clients, proxies and tests. It reads strictly after RFC
-- 9112: what two readers might understand in two ways is an error.
-- @module asyncio.parsers
-- @usage
-- local parsers = asyncio.parsers
-- local url = parsers.url "http://localhost:8080/tea?kind=green"
-- print(url.host, url.port, url.target) --> localhost  8080  /tea?kind=green
-- print(parsers.decode_form("a=1&b=x+y").b) --> x y
local check = require "asyncio.check"
local grammar = require "asyncio.grammar"

local parsers = {}

for name, value in pairs(grammar) do
  if not name:find "^resp" then parsers[name] = value end -- that is redis' own
end

local MOST = 1 << 24 -- bytes; more is no head, but a body

local OPTIONS = check.options {
  "http", 1,
  { "role", "choice", "server|client", required = true },
  { "max_line", "integer", 1, MOST }, { "max_field_size", "integer", 1, MOST },
  { "max_header_size", "integer", 1, MOST },
  { "max_fields", "integer", 1, 1000 }, { "max_chunk_line", "integer", 1, MOST },
  { "max_trailer_size", "integer", 1, MOST },
}

--- Makes an HTTPConnection.
--
-- `role` is `"server"` or `"client"`. The limits are in bytes, and the same however these come:
-- `max_line=8190` of a message's first line and `max_field_size=8190` of one field's, without their ends;
-- `max_header_size=16384` of a whole head, `max_fields=128` in it, 1000 at most; `max_chunk_line=4096` of a
-- chunk's size with its extensions, four times that in a body; `max_trailer_size=4096` of all trailers.
-- @tparam table opts
-- @treturn HTTPConnection
function parsers.http(opts)
  check.table(opts, 1, "http", "table of options")
  return grammar.http(OPTIONS(opts))
end

local WEBSOCKET = check.options {
  "websocket", 1,
  { "role", "choice", "server|client", required = true }, { "max_message", "integer", 1, 1 << 40 },
}

--- Makes a WebSocketConnection.
--
-- `role` is `"server"` or `"client"`; a message of more than `max_message=1048576` bytes is refused before it
-- has come.
-- @tparam table opts
-- @treturn WebSocketConnection
function parsers.websocket(opts)
  check.table(opts, 1, "websocket", "table of options")
  return grammar.websocket(WEBSOCKET(opts))
end

return parsers
