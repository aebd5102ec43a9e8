--- A connection of an HTTP server: one task, which takes requests and answers them in turn.
--
-- While it waits for the next request nothing of the last one is held. Its times are limits of its reads, for
-- which no timer is made (net/limit.h); where an error is met, its phase says what it was about.
-- @module asyncio.http.connection
local answer = require "asyncio.http.answer"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local log = require "asyncio.http.log"
local parsers = require "asyncio.parsers"
local Request = require "asyncio.http.request"

local next_message, read_within, isinstance = core.next_message, core.read_within, core.isinstance
local new_request, time = Request.new, core.time

local BLOCK = 65536            -- bytes that one read takes
local LINGER = 2               -- seconds for which what a refused client still sends is read ...
local LINGER_MOST = 16 * 2 ^ 20 -- ... of so many bytes at most

-- What goes wrong

local function status_of(err)
  local status = type(err) == "table" and err.status
  return math.type(status) == "integer" and status >= 300 and status <= 599 and status or nil
end

--- Says that no more comes, and takes what the client still sends: to close now would be a reset, which may
-- destroy the answer before it is read.
local function linger(connection)
  local reader, writer = connection.reader, connection.writer
  local deadline, left = time() + LINGER, LINGER_MOST
  core.pcall(function()
    if writer:can_write_eof() then writer:write_eof() end
    repeat
      local seconds = deadline - time()
      local bytes = seconds > 0 and read_within(reader, BLOCK, seconds)
      left = left - (bytes and #bytes or 0)
    until not bytes or left <= 0
  end)
  return false
end

local function refuse(connection, request, status, body, headers)
  connection.parser:must_close()
  answer.refuse(connection, request, status, body, headers)
  log.note(connection, request)
  return linger(connection)
end

local function report(connection, err, traceback)
  local request = connection.request
  core.get_running_loop():call_exception_handler {
    message = ("an HTTP request's handler failed: %s %s"):format(request.method, request.target),
    exception = err, traceback = traceback, task = core.current_task(),
  }
end

-- Requests

--- The rest of a head that has come in part.
local function rest_of_head(connection, request, began)
  local parser, reader = connection.parser, connection.reader
  local deadline = began + connection.service.header_timeout
  while true do
    local bytes = read_within(reader, BLOCK, math.max(deadline - time(), 1e-9))
    local event, a, b
    if bytes then
      event, a, b = parser:feed(bytes, request)
    else
      event, a, b = parser:feed_eof(request)
    end
    if event then return event, a, b end
  end
end

--- The next request, or nil: there is none any more.
local function next_request(connection)
  local parser = connection.parser
  local request, event, a, b
  if parser:pending() > 0 then
    request = new_request()
    event, a, b = parser:next(request)
  end
  if not event then
    local began = connection.served == 0 and connection.opened
    if not request then
      local service = connection.service
      connection.phase = "idle"
      local seconds = began and service.header_timeout or service.idle_timeout
      local bytes = next_message(connection.reader, BLOCK, seconds)
      if not bytes then return nil end
      request = new_request()
      event, a, b = parser:feed(bytes, request)
    end
    connection.phase = "head"
    if not event then
      event, a, b = rest_of_head(connection, request, began or time())
    end
  end
  if event == "request" then return request end
  if event == "error" then
    refuse(connection, nil, a, ("%d %s: %s\n"):format(a, parsers.reason(a) or "Error", b))
  end
  return nil
end

--- Reads what of a request nobody wanted, if it isn't much. False: it is.
local function skip_body(connection, request)
  local left = answer.UNREAD
  while left >= 0 do
    local piece = Request.piece(connection, request)
    if not piece then return true end
    left = left - #piece
  end
  return false
end

--- The answer is complete; whether another request may come.
local function go_on(connection, request)
  connection.served = connection.served + 1
  if connection.log then log.note(connection, request) end
  if request.body then
    local ours, theirs = connection.parser:states()
    connection.phase = "skip"
    if theirs == "error" then return linger(connection) end
    if not connection.body_done and (ours == "must_close" or not skip_body(connection, request)) then
      return linger(connection)
    end
  end
  connection.request, connection.body, connection.left = nil, nil, nil
  return connection.parser:next_cycle()
end

local function begin(connection, request)
  connection.request, connection.began, connection.phase, connection.sent = request, nil, "handler", 0
  request._connection = connection
  if request.body then
    connection.body_done, connection.received, connection.continued = false, 0, false
  end
  local upgrade = rawget(request, "upgrade")
  if upgrade then request.upgrade, request.upgrade_to = nil, upgrade end
  if connection.log then connection.request_at = time() end
end

--- One request; whether another may come.
local function serve_one(connection)
  local request = next_request(connection)
  if not request then return false end
  begin(connection, request)
  if request.method == "CONNECT" then return refuse(connection, request, 501) end
  answer.complete(connection, request, connection.service.handler(request))
  if connection.socket then connection.socket:close() end
  if connection.upgraded then return false end
  return go_on(connection, request)
end

local function serve_all(connection)
  while serve_one(connection) do end
end

-- Failures

--- Goes on behind a request whose handler has failed.
local function serve_rest(connection)
  if go_on(connection, connection.request) then serve_all(connection) end
end

--- A handler has failed. Its error is the answer, if it says so. Returns how the connection goes on; nil: it
-- doesn't.
local function failed_in_handler(connection, err, traceback)
  local request, status = connection.request, status_of(err)
  local left = not status and core.own_peer_broke(err)
  if connection.log and (left or connection.began) then log.note(connection, request) end
  if left then error(err, 0) end
  if connection.began or not status then report(connection, err, traceback) end
  if connection.socket then
    connection.socket:close(1011)
    return nil
  end
  if connection.began then
    core.break_talk(connection.reader)
    return nil
  end
  connection.left = nil
  if status == 408 then connection.parser:must_close() end
  if status then
    answer.refuse(connection, request, status, err.body, err.headers)
  else
    answer.refuse(connection, request, 500)
  end
  return serve_rest
end

--- Returns how the connection goes on; nil: it doesn't.
local function failed(connection, err, traceback)
  local phase = connection.phase
  if phase == "handler" then return failed_in_handler(connection, err, traceback) end
  if phase == "skip" and isinstance(err, errors.ProtocolError) then
    linger(connection)
  elseif not isinstance(err, core.TimeoutError) then
    error(err, 0)
  elseif phase == "head" then
    connection.parser:feed_eof() -- from now on it has an answer
    refuse(connection, nil, 408, "408 Request Timeout: the head of the request took too long\n")
  end
  return nil -- between two requests, or where the rest of one comes too slowly, there is nothing to be said
end

--- Whoever fails to say what has gone wrong has lost its client, as a rule.
local function serve_protected(connection)
  local run = serve_all
  while run do
    local ok, err, traceback = core.xpcall(run, core.traceback, connection)
    if ok then return end
    run = failed(connection, err, traceback)
  end
end

-- An answer that is cut, by a cancellation too, has no clean end.
local Connection = {}
function Connection:__close(err)
  if err ~= nil and self.parser:states() == "send_body" then core.break_talk(self.reader) end
end

--- The handler of a server's connections.
local function serve(service, reader, writer)
  local connection <close> = setmetatable({
    reader = reader, writer = writer, service = service, parser = parsers.http(service.limits),
    served = 0, opened = time(), phase = "idle", log = service.log,
  }, Connection)
  serve_protected(connection)
end

return { serve = serve, linger = linger }
