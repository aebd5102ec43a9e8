--- Requests, as handlers of `asyncio.http.serve` get them.
-- @module asyncio.http.request
local check = require "asyncio.check"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local parsers = require "asyncio.parsers"

local BLOCK = 65536 -- bytes that one read takes

--- A request, as a handler gets it. It is the handler's until that has answered.
--
-- Its fields: `method`, `target` (as sent), `path` (decoded once), `query` (the decoded query string: a
-- table, name → value, or list of values of a name that comes more than once), `query_string`, `headers`,
-- `version` (`"1.1"` or `"1.0"`), `host` (as in the Host field, with its port), `scheme` (`"http"`,
-- `"https"`), `peer` (the client's address, as `get_extra_info "peername"` gives it), `content_length` (nil:
-- not known, or no body), `upgrade_to` (the protocol that the client would rather speak, as in its Upgrade
-- field; or nil). `max_body` may be set before the body is read: so many bytes at most, or false; otherwise
-- the server's. `trailers` are the headers that came behind a chunked body, once that has been read.
--
-- `headers[name]` is without case; the values of several fields of one name are joined by `", "`. `pairs`
-- gives names as sent, and values, in order; `headers:all(name)` a list of the values.
-- @type Request
-- @usage
-- local http = require "asyncio.http"
-- local server <close> = http.serve(function(request)
--   if request.method ~= "POST" then http.abort(405, nil, { Allow = "POST" }) end
--   local form = request:form()
--   return ("%s wants %s\n"):format(request.query.name, form.drink)
-- end, "127.0.0.1", 0)
-- server:close()
local Request = { __name = "asyncio.Request" }
local methods, lazy = {}, {}

Request.methods = methods

function Request:__index(key)
  local method = methods[key]
  if method then return method end
  local make = lazy[key]
  return make and make(self)
end

function Request:__tostring()
  return ("asyncio.Request: %s %s"):format(self.method, self.target)
end


--- A new one, whose fields the parser sets. There is room for them from the start.
function Request.new()
  return setmetatable({
    method = nil, target = nil, path = nil, version = nil, headers = nil, body = nil, keep_alive = nil,
    host = nil, _connection = nil, query_string = nil,
  }, Request)
end

function Request.begin(request, connection) request._connection = connection end

local function connection_of(request, name)
  check.self(request, Request, name)
  local connection = request._connection
  if not connection or connection.request ~= request then
    error(core.ClosedError "the request has been answered", 0)
  end
  return connection
end

Request.connection_of = connection_of

-- Fields that few ask for

function lazy:query()
  local query, why = {}, nil
  if self.query_string then query, why = parsers.decode_form(self.query_string) end
  if not query then
    error(errors.HTTPError { message = "the query can't be decoded: " .. why, status = 400 }, 0)
  end
  self.query = query
  return query
end

function lazy:scheme()
  local connection = self._connection
  return connection and connection.service.scheme
end

function lazy:peer()
  local connection = self._connection
  return connection and connection.writer:get_extra_info "peername"
end

function lazy:max_body()
  local connection = self._connection
  return connection and connection.service.max_body
end

-- The body

local function too_large(limit)
  error(errors.BodyTooLarge {
    message = ("the body has more than %d bytes"):format(limit), limit = limit, status = 413,
  }, 0)
end

local function broken(status, what, partial)
  error(errors.ProtocolError { message = what, status = status, partial = partial and "" or nil }, 0)
end

--- More bytes from the client, for the body; nil: it has ended.
local function read_more(connection)
  local ok, bytes = core.pcall(core.read_within, connection.reader, BLOCK, connection.service.body_timeout)
  if ok then return bytes end
  if core.isinstance(bytes, core.TimeoutError) then bytes.status, bytes.phase = 408, "body" end
  error(bytes, 0)
end

--- The parser's next event, for which bytes have to come.
local function wait_for_event(connection, request)
  local parser = connection.parser
  if request.expect_continue and not connection.continued then
    connection.continued = true
    connection.writer:write(parser:informational(100))
  end
  while true do
    local bytes = read_more(connection)
    local event, a, b, c, d
    if bytes then
      event, a, b, c, d = parser:feed(bytes)
    else
      event, a, b, c, d = parser:feed_eof()
    end
    if event then return event, a, b, c, d end
  end
end

--- A piece of the body as it comes, or nil at its end. It is counted, whoever wants it.
function Request.piece(connection, request)
  if connection.body_done then return nil end
  local event, a, b, _, partial = connection.parser:next()
  if not event then event, a, b, _, partial = wait_for_event(connection, request) end
  if event == "data" then
    connection.received = connection.received + #a
    return a
  end
  connection.body_done = true
  if event == "end" then
    request.trailers = a
    return nil
  end
  return broken(a, b, partial)
end

--- The same, within the limit.
local function bounded_piece(connection, request)
  if not request.body then return nil end
  local limit = request.max_body
  if not limit then return Request.piece(connection, request) end
  if (request.content_length or 0) > limit then too_large(limit) end
  local piece = Request.piece(connection, request)
  if connection.received > limit then too_large(limit) end
  return piece
end

local function read_all(connection, request)
  local pieces = { connection.left }
  connection.left = nil
  while true do
    local piece = bounded_piece(connection, request)
    if not piece then return table.concat(pieces) end
    pieces[#pieces + 1] = piece
  end
end

--- (connection, request, ...) → nil at the end
local function read_some(connection, request, n)
  local piece = connection.left
  connection.left = nil
  piece = piece or bounded_piece(connection, request)
  if piece and #piece > n then
    piece, connection.left = piece:sub(1, n), piece:sub(n + 1)
  end
  return piece
end

local function check_count(n, name)
  if math.type(n) ~= "integer" then check.fail(1, name, "integer or nil", n) end
end

--- Reads the body: all of it, or up to n bytes, as soon as there are any.
-- Raises BodyTooLarge (413) where the body has more than `max_body` bytes, before anything is read if it says
-- so; TimeoutError (408) when no byte has come for `body_timeout` seconds; ProtocolError (400) when it is
-- cut, or breaks the rules. Uncaught they are the answer. Where the client waits for that (`Expect:
-- 100-continue`), it is told now that it may send.
-- @tparam[opt] integer n without it, or negative: all
-- @treturn ?string nil at the end, if n was given; all of it: `""` at least
-- @function Request:read
function methods:read(n)
  local connection = connection_of(self, "read")
  if n == nil then return read_all(connection, self) end
  check_count(n, "read")
  if n < 0 then return read_all(connection, self) end
  if n == 0 then return "" end
  return read_some(connection, self, n)
end

--- The body by pieces of up to n bytes, as they come.
-- @tparam[opt=65536] integer n
-- @treturn function an iterator
-- @function Request:blocks
function methods:blocks(n)
  local connection = connection_of(self, "blocks")
  if n ~= nil then check_count(n, "blocks") end
  if n and n < 1 then check.error(1, "blocks", ("a positive integer expected, got %d"):format(n)) end
  n = n or BLOCK
  return function()
    if connection.request ~= self then connection_of(self, "blocks") end
    return read_some(connection, self, n)
  end
end

--- The next line with its end, or the rest; nil: there is none.
local function next_line(connection, request, separator)
  local parts, n = { connection.left }, connection.left and #connection.left or 0
  local text = connection.left
  connection.left = nil
  local from = 1
  while true do
    local first, last = nil, nil
    if text then first, last = text:find(separator, from, true) end
    if first then
      connection.left = last < #text and text:sub(last + 1) or nil
      return text:sub(1, first - 1)
    end
    local piece = bounded_piece(connection, request)
    if not piece then return text end
    from = math.max(1, n - #separator + 2) -- it may have begun in the last piece
    parts[#parts + 1] = piece
    text = table.concat(parts)
    parts, n = { text }, #text
  end
end

--- The body by lines, without their ends.
-- @tparam[opt="\n"] string separator
-- @treturn function an iterator
-- @function Request:lines
function methods:lines(separator)
  local connection = connection_of(self, "lines")
  if separator ~= nil and (type(separator) ~= "string" or separator == "") then
    check.fail(1, "lines", "string that isn't empty, or nil,", separator)
  end
  separator = separator or "\n"
  return function()
    if connection.request ~= self then connection_of(self, "lines") end
    return next_line(connection, self, separator)
  end
end

--- The fields of a form that was sent (`application/x-www-form-urlencoded`). Another type is an HTTPError
-- (415), what can't be decoded one of 400; for the rest see `read`.
-- @treturn table name → value, or list of the values of a name that comes more than once
-- @function Request:form
function methods:form()
  connection_of(self, "form")
  local kind = (self.headers["Content-Type"] or ""):match "^[^;]*":lower():gsub("%s+$", "")
  if kind ~= "application/x-www-form-urlencoded" then
    error(errors.HTTPError {
      message = ("a form expected, got %s"):format(kind == "" and "a body of no type" or kind), status = 415,
    }, 0)
  end
  local form, why = parsers.decode_form(self:read())
  if form then return form end
  return error(errors.HTTPError { message = "the form can't be decoded: " .. why, status = 400 }, 0)
end

--- Answers that from now on this is a WebSocket, which is closed when the handler returns: with 1000, or 1011
-- if it has failed. What is no opening handshake raises a WebSocketError with a `status`, which is the answer
-- unless it is caught: 426 without `Upgrade: websocket` or with another version than 13, 403 for a page from
-- elsewhere.
--
-- A browser says in Origin which page it is: its host and port must be those of the Host field. Otherwise any
-- page that somebody looks at could speak here in their name.
-- @tparam[opt] table opts `origins` (a list of origins, `https://example.org`; `"*"`: all; a function, which
-- gets the Origin field or nil, and the request, and returns whether it is good), `protocols` (the names of
-- subprotocols, the best first: the first that the client offers is chosen), `max_message` (1 MiB),
-- `max_queue` (16), `ping_interval` (20 s), `ping_timeout` (20 s), `close_timeout` (10 s): see
-- `http.websocket`
-- @treturn WebSocket
-- @function Request:websocket
-- @usage
-- local http = asyncio.http
-- local server <close> = http.serve(function(request)
--   local ws = request:websocket { origins = { "https://tea.example" } }
--   for data, kind in ws:iter() do
--     if kind == "text" then ws:send(data) else ws:send_binary(data) end
--   end
-- end, "127.0.0.1", 0)
-- server:close()
function methods:websocket(opts)
  local ws = require "asyncio.http.opening".accept(self, opts)
  return ws
end

return Request
