--- Grammars without input and output, HTTP/1.1's above all: bytes in, events out, and the other way round.
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

local LIMITS = {
  { "list", "boolean" }, { "max_size", "integer", 1, 1 << 31 }, { "max_depth", "integer", 1, 128 },
}
local PACK = check.options { "pack", 2, table.unpack(LIMITS) }
local UNPACK = check.options { "unpack", 3, table.unpack(LIMITS) }

--- Makes MessagePack of a value, which many languages read: of nil, booleans, numbers, strings, and tables of
-- these.
--
-- Integers stay integers and floats floats, both of 64 bits. A string is text if it is UTF-8, else bytes.
-- A table whose keys are 1, 2, 3... is a list, as an empty one is; any other is a map, whose keys are
-- strings, numbers and booleans. A function, coroutine or userdata, a table with a metatable, or one in
-- itself, is an error that says where it stands.
--
-- It may have `max_size=16777216` bytes, and `max_depth=128` tables within each other. With `list=true` the
-- value is a list as `table.pack` makes it: of `n` values, nils among them.
-- @param value
-- @tparam[opt] table opts
-- @treturn string
-- @usage asyncio.parsers.pack { name = "tea", sizes = { 1, 2.5 } }
function parsers.pack(value, opts)
  local bytes, why
  if opts == nil then
    bytes, why = grammar.pack(value)
  else
    check.table(opts, 2, "pack", "table of options")
    opts = PACK(opts)
    if opts.list then check.table(value, 1, "pack", "list") end
    bytes, why = grammar.pack(value, opts.list, nil, opts.max_size, opts.max_depth)
  end
  return bytes or check.error(1, "pack", why)
end

--- Reads a value that is MessagePack, from byte `i` on.
--
-- What is no MessagePack, ends too soon, is too large (`max_size=16777216` bytes, `max_depth=128`) or
-- can't be a value here (an extension, an integer of more than 63 bits, a map with a key twice) raises an
-- Error that says so, and where. What is announced is compared with what is there before it is given room.
-- With `list=true` a list has a field `n`, since nils may be in it.
-- @tparam string bytes
-- @tparam[opt=1] integer i
-- @tparam[opt] table opts
-- @return the value, and where what is behind it begins
-- @usage local value, next = asyncio.parsers.unpack(bytes)
function parsers.unpack(bytes, i, opts)
  if type(bytes) ~= "string" then check.fail(1, "unpack", "string", bytes) end
  if i ~= nil and (math.type(i) ~= "integer" or i < 1 or i > #bytes + 1) then
    check.error(2, "unpack", ("no position in a string of %d bytes"):format(#bytes))
  end
  local following, value, where
  if opts == nil then
    following, value, where = grammar.unpack(bytes, i)
  else
    check.table(opts, 3, "unpack", "table of options")
    opts = UNPACK(opts)
    following, value, where = grammar.unpack(bytes, i, opts.list, opts.max_size, opts.max_depth)
  end
  if following then return value, following end
  check.raise(("these bytes are not MessagePack: %s, at byte %d"):format(value, where))
end

return parsers
