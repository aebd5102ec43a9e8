--- Response: an answer's head, and its body as it comes.
-- @module asyncio.http.response
local check = require "asyncio.check"
local connections = require "asyncio.http.connections"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local exchange = require "asyncio.http.exchange"
local timeouts = require "asyncio.timeouts"
local unpacking = require "asyncio.http.unpacking"

local LARGEST_BLOCK = 65536 -- the default of `blocks`
local MARGIN = 2            -- seconds by which we forget a connection before its server says it will

--- The answer to a request: `asyncio.http` and its clients give it.
--
-- Fields: `status`, `reason`, `version` ("1.1"), `headers`, `url` (where it came from in the end), `history`
-- (a list of the answers that led there by redirects). `headers[name]` looks without case, and joins several
-- by ", " (of `set-cookie` it is the first); `headers:all(name)` lists them; `pairs(headers)` gives all as
-- they came.
--
-- The body is read as it comes. Once it has been read to its end the connection is free for another request.
-- `close`, or leaving the block of a `<close>` variable, drops what is unread, and so does forgetting the
-- Response: quietly, when it is collected. A read that fails, is cancelled, or takes longer than `timeout`,
-- closes it, too: what comes next is ClosedError, or the same error again.
-- @type Response
-- @usage
-- local server <close> = asyncio.start_server(function(reader, writer)
--   reader:readuntil "\r\n\r\n"
--   writer:send "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Tea: green\r\n\r\none\ntwo\n"
-- end, "127.0.0.1", 0)
-- local answer <close> = asyncio.http.get("http://" .. tostring(server:sockets()[1]))
-- print(answer.status, answer.reason, answer.headers["x-tea"]) --> 200  OK  green
-- for line in answer:lines() do print(line) end --> one, two
local Response = { __name = "asyncio.Response" }
Response.__index = Response

-- The body. `raw` is what came together with the head; `pieces` what is unpacked and unread.

local function name_of(body) return ("%s %s"):format(body.plan.method, body.plan.target.href) end

local function too_large(body)
  local max = body.plan.max_body
  return errors.BodyTooLarge {
    message = ("the body of %s has more than %d bytes (max_body)"):format(name_of(body), max), limit = max,
  }
end

--- Its connection is free for another request, or is closed.
local function let_go(body)
  local conn = body.conn
  if conn.sender then exchange.stop_sending(conn) end
  body.conn = false
  if not conn.writer then return end
  local again = conn.pool and body.keep_alive and not conn.unsent and conn.wire:next_cycle()
  if not again then return conn:close() end
  conn.sender = false
  local seconds = body.keep_for and tonumber(body.keep_for:lower():match "timeout%s*=%s*(%d+)")
  conn.pool:release(conn, seconds and seconds - MARGIN)
end

--- What has come together with the head; the connection goes back when that was all.
local function take_what_is_there(body)
  local wire, last = body.conn.wire, 0
  while true do
    local event, piece = wire:next()
    if event == "data" then
      last = last + 1
      body.raw[last] = piece
    else
      body.raw_last = last
      body.ended = event == "end"
      if body.ended then let_go(body) end
      return
    end
  end
end

local function late(body, seconds)
  return function()
    return core.TimeoutError {
      phase = "body", message = ("no more of the body of %s came for %.14g s"):format(name_of(body), seconds),
    }
  end
end

local function total_late(body)
  return function()
    return core.TimeoutError {
      phase = "body",
      message = ("%s took longer than %.14g s: its body was under way"):format(name_of(body),
        body.plan.total_timeout),
    }
  end
end

--- The next piece as it came; nil at the end.
local function receive(body)
  local conn, plan, seconds, limit = body.conn, body.plan, body.plan.timeout, late
  if plan.deadline then
    local left = plan.deadline - core.get_running_loop():time()
    if left < seconds then seconds, limit = math.max(left, 0), total_late end
  end
  local piece = timeouts._within(seconds, limit(body, seconds), connections.read_piece, conn)
  if piece then return piece end
  body.ended = true
  let_go(body)
  return nil
end

--- One more piece, unpacked; false at the end.
local function pull(body)
  while true do
    local first, raw = body.raw_first, nil
    if first <= body.raw_last then
      raw, body.raw[first], body.raw_first = body.raw[first], nil, first + 1
    elseif not body.ended then
      raw = receive(body)
    end
    if not raw then
      if body.unpacker then body.unpacker:finish() end
      return false
    end
    local piece = body.unpacker and body.unpacker:unpack(raw) or raw
    if piece ~= "" then
      body.last = body.last + 1
      body.pieces[body.last] = piece
      body.size = body.size + #piece
      return true
    end
  end
end

--- Takes n bytes at most of the first piece.
local function take(body, n)
  local first, at = body.first, body.at
  local piece = body.pieces[first]
  local left = #piece - at + 1
  if n < left then
    body.at, body.size = at + n, body.size - n
    return piece:sub(at, at + n - 1)
  end
  body.pieces[first], body.first, body.at, body.size = nil, first + 1, 1, body.size - left
  return at == 1 and piece or piece:sub(at)
end

local function unread(body)
  if body.first > body.last then return "" end
  if body.at > 1 then body.pieces[body.first] = body.pieces[body.first]:sub(body.at) end
  local text = table.concat(body.pieces, "", body.first, body.last)
  body.pieces, body.first, body.last, body.at, body.size = {}, 1, 0, 1, 0
  return text
end

local function read_all(body)
  local max = body.plan.max_body
  if not body.unpacker and body.length and body.length > max then error(too_large(body), 0) end
  repeat
    if body.size > max then error(too_large(body), 0) end
  until not pull(body)
  return unread(body)
end

local function read_some(body, n)
  if body.first > body.last and not pull(body) then return nil end
  return take(body, n)
end

--- Up to a separator, which may begin in one piece and end in the next.
local function read_line(body, separator)
  local parts, length, keep = {}, 0, #separator - 1
  while body.first <= body.last or pull(body) do
    local piece, at = body.pieces[body.first], body.at
    local from, to = piece:find(separator, at, true)
    if from then
      parts[#parts + 1] = piece:sub(at, from - 1)
      take(body, to - at + 1)
      return table.concat(parts)
    end
    piece = take(body, math.maxinteger)
    length = length + #piece
    if length > body.plan.max_body then error(too_large(body), 0) end
    local held = keep > 0 and piece:sub(-keep) or "" -- the separator may have begun there
    if held ~= "" and pull(body) then
      body.pieces[body.last], body.size = held .. body.pieces[body.last], body.size + #held
      piece = piece:sub(1, -#held - 1)
    end
    parts[#parts + 1] = piece
  end
  local line = table.concat(parts)
  return line ~= "" and line or nil
end

local function closed(why) return core.ClosedError("the response is closed" .. why) end

--- Nothing can be read any more. failure: what reads raise
local function drop(body, failure)
  local conn = body.conn
  body.conn, body.failure = false, failure
  body.raw, body.pieces = {}, {}
  if conn then conn:close(true) end
end

local function fail(body, err)
  if core.isinstance(err, core.BusyError) then error(err, 0) end -- another task reads, and goes on
  local conn = body.conn
  if conn then
    err = exchange.cause(conn, err)
    local sender = conn.sender
    if sender and not sender.done then pcall(sender.task.cancel, sender.task) end
  end
  local cut = core.isinstance(err, errors.ProtocolError)
  if cut then err.partial = unread(body) end
  local lasting = cut or core.isinstance(err, errors.BodyTooLarge) or core.isinstance(err, core.OSError)
  drop(body, lasting and err or closed ": a read of it was broken off")
  error(err, 0)
end

local function reading(body, fn, ...)
  if body.failure then error(body.failure, 0) end
  local ok, result = core.catch(fn, body, ...)
  if ok then return result end
  return fail(body, result)
end

-- Methods

--- Reads the body: all that is left of it, or what there is, up to n bytes.
-- All of it may be as long as `max_body`; a longer one raises BodyTooLarge. One that is cut raises
-- ProtocolError, whose `partial` is what came of it. With `n` it waits for some bytes only.
-- @tparam[opt] integer n at most so many bytes
-- @treturn ?string nil at the end, where `n` is given; without it "" at least
function Response:read(n)
  check.self(self, Response, "read")
  if n == nil or n == -1 then return reading(self._body, read_all) end
  if math.type(n) ~= "integer" or n < -1 then check.fail(1, "read", "number of bytes or nil", n) end
  if n == 0 then return "" end
  return reading(self._body, read_some, n)
end

--- Iterates over the lines of the body, without their ends.
-- A last line without one is a line, too. One that is longer than `max_body` raises BodyTooLarge.
-- @tparam[opt] string separator what ends a line ("\n"; "\r\n", say)
-- @treturn function an iterator
function Response:lines(separator)
  check.self(self, Response, "lines")
  if separator == nil then separator = "\n" end
  if type(separator) ~= "string" or separator == "" then
    check.fail(1, "lines", "separator that isn't empty", separator)
  end
  return function() return reading(self._body, read_line, separator) end
end

--- Iterates over the body in pieces, as they come.
-- @tparam[opt] integer n how long they are at most (65536)
-- @treturn function an iterator
function Response:blocks(n)
  check.self(self, Response, "blocks")
  if n == nil then n = LARGEST_BLOCK end
  if math.type(n) ~= "integer" or n < 1 then check.fail(1, "blocks", "number of bytes, 1 or more,", n) end
  return function() return reading(self._body, read_some, n) end
end

--- Drops what is unread of the body: then its connection is closed. Does nothing where all was read.
function Response:close()
  check.self(self, Response, "close")
  local body = self._body
  local unread_bytes = body.first <= body.last or body.raw_first <= body.raw_last
  if body.conn or unread_bytes and not body.failure then drop(body, closed "") end
end

function Response:__close() self:close() end

--- Raises HTTPStatusError when the status is an error's, 400 or more: `response` is this one, whose body can
-- be read. Otherwise returns the Response itself.
-- @treturn Response
-- @usage
-- local server <close> = asyncio.start_server(function(reader, writer)
--   reader:readuntil "\r\n\r\n"
--   writer:send "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno tea\n"
-- end, "127.0.0.1", 0)
-- local answer = asyncio.http.get("http://" .. tostring(server:sockets()[1]) .. "/tea")
-- local ok, err = pcall(answer.raise_for_status, answer)
-- print(err.status, (err.response:read():gsub("\n", ""))) --> 404  no tea
function Response:raise_for_status()
  check.self(self, Response, "raise_for_status")
  if self.status < 400 then return self end
  error(errors.HTTPStatusError {
    message = ("%s: %d %s"):format(name_of(self._body), self.status, self.reason), status = self.status,
    response = self,
  }, 0)
end

function Response:__tostring()
  return ("asyncio.Response: %d %s, %s"):format(self.status, self.reason, self.url)
end

--- What the head of an answer makes.
local function new(head, conn, plan)
  local headers = head.headers
  local body = {
    conn = conn, plan = plan, ended = not head.body, keep_alive = head.keep_alive,
    length = head.content_length,
    keep_for = conn.pool and headers["keep-alive"] or nil, failure = nil,
    raw = {}, raw_first = 1, raw_last = 0, pieces = {}, first = 1, last = 0, at = 1, size = 0,
    unpacker = nil,
  }
  local coding = head.body and head.status ~= 206 and headers["content-encoding"]
  if coding then
    local unpacked = 0
    body.unpacker = unpacking.of(coding, function(n)
      unpacked = unpacked + n
      if unpacked > plan.max_body then error(too_large(body), 0) end
    end)
  end
  if body.ended then let_go(body) else take_what_is_there(body) end
  return setmetatable({
    status = head.status, reason = head.reason, version = head.version, headers = headers,
    url = plan.target.href, history = {}, _body = body,
  }, Response)
end

return { new = new, class = Response }
