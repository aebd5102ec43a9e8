--- One request on one connection, up to the head of its answer.
--
-- A body that is at hand is written, and leaves while the answer is waited for. One that comes in pieces has
-- a task, which sends it: a server may answer before it has all of it.
-- @module asyncio.http.exchange
local connections = require "asyncio.http.connections"
local core = require "asyncio.core"
local timeouts = require "asyncio.timeouts"

local exchange = {}

local CONTINUE = 1 -- seconds for which a server that was asked may think about the body

--- Tells what failed of the body's source; what fails of the connection the answer tells.
local function send_pieces(conn, body, sender)
  local wire, writer = conn.wire, conn.writer
  while true do
    local ok, piece = core.catch(body.next)
    if not ok then
      sender.failure = piece
      if not writer:is_closing() then writer:abort() end -- wakes who waits for the answer
      error(piece, 0)
    end
    if not piece then break end
    writer:writelines { wire:data(piece) }
    writer:drain()
  end
  writer:write(wire:last())
  sender.done = true
end

local function run_sender(conn, body, sender)
  local ok, err = core.catch(send_pieces, conn, body, sender)
  if not ok and core.isinstance(err, core.CancelledError) and sender.failure == nil then error(err, 0) end
  if not ok and sender.failure == nil and not core.isinstance(err, core.OSError) then
    sender.failure = err -- more than its Content-Length, say
    if not conn.reader:at_eof() then pcall(conn.writer.abort, conn.writer) end
  end
end

local function start_sender(conn, body)
  local sender = { done = false, failure = nil }
  sender.task = core.create_task { run_sender, conn, body, sender, name = "http: a request's body" }
  conn.sender = sender
end

local function send_body(conn, body)
  if body.next then return start_sender(conn, body) end
  local wire, writer = conn.wire, conn.writer
  for _, piece in ipairs(body.list or { body.text }) do writer:write(wire:data(piece)) end
  writer:write(wire:last())
end

local function send(conn, plan)
  local wire, writer, body = conn.wire, conn.writer, plan.body
  local target, authority, headers = plan.sent_target, plan.target.authority, plan.headers
  if body and body.text and not plan.expects then body = body.text end
  if body == nil or type(body) == "string" then
    writer:write(wire:request(plan.method, target, authority, headers, body))
    return nil
  end
  writer:write((wire:request(plan.method, target, authority, headers,
    body.text and #body.text or body.length or true)))
  if plan.expects then
    local in_time, head = timeouts.move_on_after(CONTINUE, connections.read_head, conn, true)
    if in_time and head then -- it doesn't want the body
      conn.unsent = true
      return head
    end
  end
  send_body(conn, body)
  return nil
end

--- Whether what was asked is on its way still.
function exchange.is_sending(conn)
  if not conn.writer then return false end
  return conn.sender and not conn.sender.done or conn.writer:pending() > 0
end

--- The body isn't sent any further. Returns when its source has ended.
function exchange.stop_sending(conn)
  local sender = conn.sender
  if not sender or sender.done then return end
  conn.unsent = true
  sender.task:stop()
end

--- Sends a request; the head of the answer.
function exchange.run(conn, plan)
  local head = send(conn, plan) or connections.read_head(conn)
  if head.status >= 300 then exchange.stop_sending(conn) end
  return head
end

--- What is to be raised in place of an error: the body's source failed first, or TLS was cut.
function exchange.cause(conn, err)
  local failure = nil
  if conn.sender then failure = conn.sender.failure end
  if failure ~= nil and not core.isinstance(err, core.CancelledError) then return failure end
  if core.isinstance(err, core.SSLEOFError) then
    return require "asyncio.http.errors".ProtocolError {
      message = "the server has cut the TLS connection in the middle of its answer", partial = "",
    }
  end
  return err
end

return exchange
