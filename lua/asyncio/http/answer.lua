--- Answers, on their way out: what handlers of `asyncio.http.serve` return, and what they write themselves.
-- @module asyncio.http.answer
local check = require "asyncio.check"
local core = require "asyncio.core"
local parsers = require "asyncio.parsers"
local Request = require "asyncio.http.request"

local answers = {}

local BLOCK = 65536      -- bytes of a body that are read at once
local UNREAD = 65536     -- so much of a request's body is read that nobody wanted, for the connection's sake
local TEXT = { "Content-Type", "text/plain; charset=utf-8" }
local KNOWN = { status = true, headers = true, body = true }
local FORMS = "a string, {status=, headers=, body=}, or nothing after request:respond"

local is_last = core.is_last_message
local connection_of = Request.connection_of

local function fail(text, ...) error(core.Error(text:format(...)), 0) end

--- The time as Date has it; made once a second.
local function date_of(service)
  local now = os.time()
  if now ~= service.now then service.now, service.date = now, parsers.date(now) end
  return service.date
end

--- The headers that all answers of a service have, with those of texts.
function answers.prepare(service, server_header)
  local common = server_header and { { "Server", server_header } } or {}
  service.common = common
  service.plain = server_header and parsers.headers(common) or nil
  service.text = parsers.headers { TEXT, common[1] }
end

-- Heads

--- Headers as a list of pairs, to be added to; and whether one of that name is there.
local function to_list(headers, name)
  local list, found = {}, false
  local function add(key, value)
    if type(key) == "string" and key:lower() == name then found = true end
    list[#list + 1] = { key, value }
  end
  if type(headers) == "table" and headers[1] ~= nil then
    for _, pair in ipairs(headers) do add(pair[1], pair[2]) end
  else
    for key, value in pairs(headers) do add(key, value) end
  end
  return list, found
end

local function add_missing(headers, pair)
  local list, found = to_list(headers, pair[1]:lower())
  if found then return headers end
  list[#list + 1] = pair
  return list
end

--- Those of an answer, with what all of them have, and the type of a text.
local function complete_headers(service, headers, is_text)
  if headers == nil then return is_text and service.text or service.plain end
  if is_text and not (headers["Content-Type"] or headers["content-type"]) then
    headers = add_missing(headers, TEXT)
  end
  local common = service.common[1]
  return common and add_missing(headers, common) or headers
end

--- Whether more of the request's body is to come than is read for the connection's sake.
local function leaves_much(connection, request)
  if not request.body or connection.body_done then return false end
  if request.expect_continue and not connection.continued and connection.received == 0 then return true end
  return (request.content_length or 0) - connection.received > UNREAD
end

local function is_last_answer(connection, request)
  local service = connection.service
  return is_last(connection.reader)
    or service.max_requests and connection.served + 1 >= service.max_requests
    or leaves_much(connection, request)
end

--- The head of an answer, and what of its body goes with it.
-- body: as `response` of the parser wants it
local function head_of(connection, request, status, headers, body)
  if request and is_last_answer(connection, request) then connection.parser:must_close() end
  local head, rest = connection.parser:response(status, headers, body, date_of(connection.service))
  connection.began = status
  return head, rest
end

-- Bodies

local function send_piece(connection, piece)
  if type(piece) ~= "string" then
    fail("a piece of an answer's body: a string expected, got %s", core.words(piece))
  end
  connection.sent = connection.sent + #piece
  connection.writer:send(connection.parser:data(piece))
end

local function end_body(connection, trailers)
  local last = connection.parser:last(trailers)
  if last ~= "" then connection.writer:send(last) end
end

--- Whether no answer of that status has a body.
local function is_bare(status) return status == 204 or status == 304 end

--- Whether an answer of that status to this request has one.
local function has_body(request, status) return request.method ~= "HEAD" and not is_bare(status) end

--- Closes what has `close`, however the block is left.
local Closer = {}
function Closer:__close() self.what:close() end

local function closer_of(body)
  local meta = getmetatable(body)
  if type(meta) == "table" and meta.__close then return body end
  return body.close and setmetatable({ what = body }, Closer) or nil
end

--- How long an open file is from where it stands.
local function length_of(file)
  local at = file:seek "cur"
  local size = file:seek "end"
  file:seek("set", at)
  return math.max(size - at, 0)
end

--- An answer without one.
local function send_none(connection, request, status, headers)
  connection.writer:send((head_of(connection, request, status, headers, nil)))
end

--- Something with `read(n)`: a reader, a file, a client's Response.
local function send_reader(connection, request, status, headers, body)
  local _ <close> = closer_of(body)
  if is_bare(status) then return send_none(connection, request, status, headers) end
  local length = core.type(body) == "File" and length_of(body) or true
  local sends = has_body(request, status)
  connection.writer:write((head_of(connection, request, status, headers, length)))
  if not sends or length == 0 then return end
  while true do
    local piece = body:read(length == true and BLOCK or math.min(BLOCK, length))
    if not piece or piece == "" then break end
    send_piece(connection, piece)
    if length ~= true then
      length = length - #piece -- it may have grown
      if length == 0 then break end
    end
  end
  end_body(connection)
end

local function send_pieces(connection, request, status, headers, body)
  if is_bare(status) then return send_none(connection, request, status, headers) end
  connection.writer:write((head_of(connection, request, status, headers, true)))
  if not has_body(request, status) then return end
  for piece in body do send_piece(connection, piece) end
  end_body(connection)
end

local function send_string(connection, request, status, headers, body)
  local head, rest = head_of(connection, request, status, headers, body)
  connection.sent = #body
  if rest then
    connection.writer:send(head, rest)
  else
    connection.writer:send(head)
  end
end

local function is_reader(body)
  local kind = type(body)
  return (kind == "table" or kind == "userdata") and check.is_callable(body.read)
end

local function check_status(status)
  if math.type(status) ~= "integer" or status < 200 or status > 999 then
    local got = type(status) == "string" and ("the string %q"):format(status) or core.words(status)
    fail("the status of an answer: an integer from 200 to 999 expected, got %s", got)
  end
end

local function check_answer(given)
  for key in next, given do
    if not KNOWN[key] then
      fail("an answer has no field %s; it has status, headers and body", core.words(key))
    end
  end
end

--- Sends what a handler has returned.
function answers.send(connection, request, given)
  if type(given) == "string" then
    return send_string(connection, request, 200, connection.service.text, given)
  end
  if type(given) ~= "table" or getmetatable(given) ~= nil then
    fail("a handler of http.serve returned %s; %s expected", core.words(given), FORMS)
  end
  check_answer(given)
  local status, headers, body, service = given.status or 200, given.headers, given.body, connection.service
  check_status(status)
  if type(body) == "string" then
    send_string(connection, request, status, complete_headers(service, headers, body ~= ""), body)
  elseif body == nil then
    send_none(connection, request, status, complete_headers(service, headers))
  elseif check.is_callable(body) then
    send_pieces(connection, request, status, complete_headers(service, headers), body)
  elseif is_reader(body) then
    send_reader(connection, request, status, complete_headers(service, headers), body)
  else
    fail("the body of an answer: a string, function, reader or file expected, got %s", core.words(body))
  end
end

--- Answers that something is wrong. request: nil, where none could be understood
function answers.refuse(connection, request, status, body, headers)
  body = body or ("%d %s\n"):format(status, parsers.reason(status) or "Refused")
  local bare = is_bare(status)
  headers = complete_headers(connection.service, headers, not bare)
  if bare then body = nil end
  local head, rest = head_of(connection, request, status, headers, body)
  connection.sent = body and #body or 0
  connection.writer:write(head)
  if rest then connection.writer:write(rest) end
end

-- Written by hand

--- The body of an answer that a handler writes itself; `request:respond` gives it. Each piece leaves at the
-- turn's end, with a chunk of its own where the length isn't known.
-- @type BodyWriter
-- @usage
-- local http = require "asyncio.http"
-- local server <close> = http.serve(function(request)
--   local body <close> = request:respond(200, { ["Content-Type"] = "text/plain" })
--   for i = 1, 3 do
--     body:send(i, "\n")
--     asyncio.sleep(1)
--   end
-- end, "127.0.0.1", 0)
-- server:close()
local BodyWriter = { __name = "asyncio.BodyWriter" }
BodyWriter.__index = BodyWriter

local function writing(self, name)
  check.self(self, BodyWriter, name)
  local connection = connection_of(self.request, name)
  if self.closed then error(core.ClosedError "the body of the answer is closed", 0) end
  return connection
end

--- Begins the answer, whose body the handler writes. It is complete when the body is closed, or the handler
-- returns. With a Content-Length in the headers it must have so many bytes, otherwise it is chunked
-- (HTTP/1.0: it ends with the connection).
-- @tparam[opt=200] integer status 200 to 999
-- @tparam[opt] table headers name → value or list of values, or a list of `{name, value}`
-- @treturn BodyWriter
-- @function Request:respond
function Request.methods:respond(status, headers)
  local connection = connection_of(self, "respond")
  status = status == nil and 200 or status
  if math.type(status) ~= "integer" or status < 200 or status > 999 then
    check.fail(1, "respond", "status from 200 to 999", status)
  end
  if headers ~= nil and type(headers) ~= "table" and type(headers) ~= "userdata" then
    check.fail(2, "respond", "table of headers or nil", headers)
  end
  if connection.began then fail "the request has an answer already" end
  headers = complete_headers(connection.service, headers)
  connection.writer:write((head_of(connection, self, status, headers, not is_bare(status) or nil)))
  local body = setmetatable({ request = self, bodiless = not has_body(self, status) }, BodyWriter)
  connection.body = body
  return body
end

local function put(self, name, method, ...)
  local connection = writing(self, name)
  for i = 1, select("#", ...) do
    local piece = select(i, ...)
    if type(piece) == "number" then piece = tostring(piece) end
    if type(piece) ~= "string" then check.fail(i, name, "string", piece) end
    if not self.bodiless then
      connection.sent = connection.sent + #piece
      connection.writer[method](connection.writer, connection.parser:data(piece))
    end
  end
end

--- Writes pieces of the body, without waiting. Of an answer to HEAD nothing is sent.
-- @tparam string ...
function BodyWriter:write(...) put(self, "write", "write", ...) end

--- Writes, and waits while too much is unsent. Raises an OSError when the client has left.
-- @tparam string ...
function BodyWriter:send(...) put(self, "send", "send", ...) end

--- Waits while too much is unsent.
function BodyWriter:drain() writing(self, "drain").writer:drain() end

--- How many bytes are written and not with the kernel yet.
-- @treturn integer
function BodyWriter:pending() return writing(self, "pending").writer:pending() end

--- The body is complete. Raises Error if it has fewer bytes than its Content-Length says.
-- @tparam[opt] table trailers headers that come behind it, where it is chunked
function BodyWriter:close(trailers)
  check.self(self, BodyWriter, "close")
  if self.closed then return end
  local connection = connection_of(self.request, "close")
  self.closed = true
  if not self.bodiless then end_body(connection, trailers) end
end

function BodyWriter:__close(err)
  if err == nil then self:close() end -- otherwise the connection is aborted, unless somebody catches it
end

function BodyWriter:__tostring()
  return ("asyncio.BodyWriter: %s, of %s"):format(self.closed and "closed" or "open", tostring(self.request))
end

--- Answers that from now on another protocol is spoken, which has the connection until the handler returns.
-- The body of the request has to be read before.
-- @string protocol as the request's Upgrade field names it, see `upgrade_to`
-- @tparam[opt] table headers
-- @treturn StreamReader with what has come behind the request
-- @treturn StreamWriter
-- @function Request:upgrade
function Request.methods:upgrade(protocol, headers)
  local connection = connection_of(self, "upgrade")
  if type(protocol) ~= "string" then check.fail(1, "upgrade", "protocol (a string)", protocol) end
  if connection.began then fail "the request has an answer already" end
  local service, parser, reader, writer =
    connection.service, connection.parser, connection.reader, connection.writer
  local head = parser:upgrade(protocol, complete_headers(service, headers), date_of(service))
  connection.began, connection.upgraded = 101, true
  writer:write(head)
  core.leave_talk(reader, parser:rest(), service.read_timeout)
  return reader, writer
end

-- The end of an answer

--- The handler has returned. given: what
function answers.complete(connection, request, given)
  local began = connection.began
  if not began then
    if given == nil then fail("a handler of http.serve returned nothing; %s expected", FORMS) end
    return answers.send(connection, request, given)
  end
  if given ~= nil then fail "the handler has begun an answer, and returned another one" end
  if connection.body then connection.body:close() end
end

answers.UNREAD, answers.BodyWriter = UNREAD, BodyWriter

return answers
