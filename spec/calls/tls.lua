-- TLS on pairs in memory and on sockets: what is sent is what is read, or the first part of it and an error; a
-- handshake that is given up leaves a dead connection, and nothing else.
local asyncio = require "asyncio"
local pieces = require "calls.pieces"
local identity = require "identity"

local WITHOUT_IT = not pcall(require, "asyncio.openssl") -- built without OpenSSL: there are no cases then

local TEXT = pieces.text(40000)

local VERSIONS = { "TLSv1.2", "TLSv1.3" }
local contexts = {}

--- Both sides' contexts for that version; the client resumes where it can.
local function contexts_of(version)
  if not contexts[version] then
    local ssl = asyncio.ssl
    local server = ssl.create_server_context {
      certfile = identity.cert, keyfile = identity.key, maximum_version = version,
    }
    contexts[version] = {
      client = ssl.create_default_context { cadata = identity.cert },
      server = server,
      named = ssl.SSLContext {
        purpose = "server", maximum_version = version, sni = function() return server end,
      },
      refusing = ssl.SSLContext {
        purpose = "server", maximum_version = version,
        sni = function() error(asyncio.SSLError "nobody is known here") end,
      },
    }
  end
  return contexts[version]
end

local function broke(err)
  return asyncio.isinstance(err, asyncio.OSError) or asyncio.isinstance(err, asyncio.IncompleteReadError)
    or asyncio.isinstance(err, asyncio.ClosedError)
end

--- Cancellation apart, an end of a connection is all that may come.
local function expect_broken(ok, err)
  if not ok and not broke(err) then error(err, 0) end
  return ok
end

local function plain_pair(c)
  local reader, writer, peer_reader, peer_writer = asyncio.stream_pair { limit = c.one_of { 10, 100, 65536 } }
  for _, each in ipairs { writer, peer_writer } do
    each:set_write_buffer_limits { high = c.one_of { 0, 500, 20000 }, low = 0 }
  end
  return reader, writer, peer_reader, peer_writer
end

local function client_shake(writer, used) writer:start_tls(used.client, { server_hostname = "localhost" }) end
local function server_shake(writer, context) writer:start_tls(context, { server_side = true }) end

local function pair(c)
  local used = contexts_of(c.one_of(VERSIONS))
  local reader, writer, peer_reader, peer_writer = plain_pair(c)
  asyncio.gather(asyncio.create_task(client_shake, writer, used),
    asyncio.create_task(server_shake, peer_writer, c.one_of { used.server, used.named }))
  return reader, writer, peer_reader, peer_writer
end

local function sender(c, writer) return pieces.sender(c, writer, TEXT, 9000) end

local function take(c, reader, got)
  pieces.take(c, reader, got, 3000, function(err)
    if not asyncio.isinstance(err, asyncio.LimitOverrunError) then expect_broken(false, err) end
  end)
end

local function same(got, n) pieces.check(got, TEXT, n) end

local function begins_with(got) same(got, #table.concat(got)) end

local function end_of(...)
  for _, writer in ipairs { ... } do
    writer:close()
    writer:wait_closed()
  end
end

--- Both ends of a connection whose handshake one of them may have given up: either both can talk, or neither.
local function talk(reader, writer, peer_reader, peer_writer)
  local ok = expect_broken(pcall(writer.send, writer, "there\n"))
  ok = expect_broken(pcall(function() assert(peer_reader:readline() == "there\n") end)) and ok
  ok = ok and expect_broken(pcall(peer_writer.send, peer_writer, "back\n"))
  return ok and expect_broken(pcall(function() assert(reader:readline() == "back\n") end))
end

local function cut_shake(client_side)
  return function(c)
    local used = contexts_of(c.one_of(VERSIONS))
    local reader, writer, peer_reader, peer_writer = plain_pair(c)
    local server = c.one_of { used.server, used.named, used.refusing }
    local begun = false
    local function theirs()
      begun = true
      if client_side then
        client_shake(writer, used)
      else
        server_shake(peer_writer, server)
      end
    end
    local peer = asyncio.create_task(function()
      c.pass()
      if client_side then server_shake(peer_writer, server) else client_shake(writer, used) end
    end)
    return theirs, function(task)
      local mine = client_side and writer or peer_writer
      if not task:done() or task:cancelled() or task:exception() then
        if not mine:is_closing() then -- it never began, or had ended before the error came
          mine:abort()
        end
        asyncio.wait { peer }
        local ok, err = pcall(peer.result, peer)
        local alone = not begun and asyncio.isinstance(err, asyncio.TimeoutError) -- for as long as a handshake may take
        expect_broken(ok or alone, err)
      else
        asyncio.wait { peer }
        assert(expect_broken(pcall(peer.result, peer)) == talk(reader, writer, peer_reader, peer_writer))
      end
      end_of(writer, peer_writer)
    end
  end
end

local function cut_reads(c)
  local _, writer, peer_reader, peer_writer = pair(c)
  local _, send = sender(c, writer)
  local feeder, got = asyncio.create_task(function()
    send()
    writer:close()
  end), {}
  return function() take(c, peer_reader, got) end, function()
    take(c, peer_reader, got)
    asyncio.await(feeder)
    same(got, #TEXT)
    end_of(writer, peer_writer)
  end
end

local function cut_sends(c)
  local _, writer, peer_reader, peer_writer = pair(c)
  local sent, send = sender(c, writer)
  local got = {}
  local reading = asyncio.create_task(take, c, peer_reader, got)
  return send, function()
    writer:close()
    asyncio.await(reading)
    same(got, sent.n)
    end_of(peer_writer, writer)
  end
end

local function both_ways(c)
  local reader, writer, peer_reader, peer_writer = pair(c)
  local _, send = sender(c, writer)
  local got, back, length = {}, {}, 0
  local feeder = asyncio.create_task(send)
  local answers = asyncio.create_task(function()
    for piece in function() return reader:read(c.random(1, 3000)) end do back[#back + 1] = piece end
  end)
  local function echo() -- what was read is written at once, so who is cancelled has nothing in its hands
    while length < #TEXT do
      local piece = peer_reader:read(c.random(1, 3000))
      got[#got + 1] = piece
      length = length + #piece
      peer_writer:send(piece)
      if c.random(4) == 1 then c.pass() end
    end
  end
  return echo, function()
    echo()
    peer_writer:close()
    asyncio.await(feeder)
    asyncio.await(answers)
    same(got, #TEXT)
    same(back, #TEXT)
    end_of(writer, peer_writer)
  end
end

--- An end that is no end of the peer's is an error, never an end.
local function cut_close(c)
  local _, writer, peer_reader, peer_writer = pair(c)
  local sent, send = sender(c, writer)
  local got, whole = {}, false
  local reading = asyncio.create_task(function()
    whole = expect_broken(pcall(function()
      for piece in function() return peer_reader:read(c.random(1, 3000)) end do
        got[#got + 1] = piece
        if c.random(4) == 1 then c.pass() end
      end
    end))
  end)
  return function()
    local _ <close> = writer
    send()
    if c.random(3) == 1 then writer:drain() end
    if c.random(3) == 1 then writer:abort() end
    if c.random(3) == 1 then end_of(writer) end
  end, function()
    if not writer:is_closing() then writer:close() end -- it never ran
    asyncio.await(reading)
    if whole then same(got, sent.n) else begins_with(got) end
    end_of(writer, peer_writer)
  end
end

local function serve(c, used)
  return asyncio.start_server(function(reader, writer)
    while true do
      local piece = reader:read(1000)
      if not piece then return end
      writer:send(piece)
    end
  end, "127.0.0.1", 0, {
    ssl = c.one_of { used.server, used.named, used.refusing }, max_handshakes = c.one_of { 1, 100 }, close_timeout = 1,
  })
end

local function visit(c, port, used)
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", port,
    { ssl = used.client, server_hostname = "localhost" })
  local n = c.random(1, #TEXT)
  writer:send(TEXT:sub(1, n))
  local got = reader:readexactly(n)
  assert(not got or got == TEXT:sub(1, n), "bytes were lost or doubled") -- nil: the server has ended it
end

--- Clients of a server, one of which is cancelled at any moment; whom the server refuses it refuses all the time.
local function cut_visit(c)
  local used = contexts_of(c.one_of(VERSIONS))
  local server = serve(c, used)
  local port = server:sockets()[1].port
  local others = asyncio.create_task(function()
    for _ = 1, 2 do expect_broken(asyncio.pcall(visit, c, port, used)) end
  end)
  return function()
    for _ = 1, 3 do expect_broken(asyncio.pcall(visit, c, port, used)) end
  end, function()
    asyncio.await(others)
    server:close()
    server:abort_clients()
    server:wait_closed()
    local stats = server:stats()
    assert(stats.connections == 0 and stats.handshakes == 0, "the server has connections that it hasn't")
  end
end

--- A server that ends, in each state of its clients' handshakes.
local function cut_shutdown(c)
  local used = contexts_of(c.one_of(VERSIONS))
  local server = serve(c, used)
  local port, clients = server:sockets()[1].port, {}
  local function come() expect_broken(asyncio.pcall(visit, c, port, used)) end
  for i = 1, 3 do clients[i] = asyncio.create_task(come) end
  local _, silent = asyncio.open_connection("127.0.0.1", port)
  local way = c.random(4)
  return function()
    c.pass()
    if way == 1 then server:set_ssl_context(used.named) end
    if way == 2 then server:close_clients() end
    if way == 3 then server:abort_clients() end
    server:shutdown(c.one_of { 0, 0.001, 5 })
  end, function()
    silent:abort()
    server:close()
    server:abort_clients()
    asyncio.wait(clients)
    for _, client in ipairs(clients) do asyncio.await(client) end
    server:wait_closed()
    local stats = server:stats()
    assert(stats.connections == 0 and stats.handshakes == 0, "the server has connections that it hasn't")
  end
end

if WITHOUT_IT then return {} end

return {
  { "StreamWriter:start_tls of a client", "virtual", cut_shake(true) },
  { "StreamWriter:start_tls of a server", "virtual", cut_shake(false) },
  { "StreamReader:read over TLS", "virtual", cut_reads },
  { "StreamWriter:send over TLS", "virtual", cut_sends },
  { "both directions over TLS", "virtual", both_ways },
  { "StreamWriter <close> over TLS", "virtual", cut_close },
  { "open_connection with TLS", "real", cut_visit },
  { "Server:shutdown with TLS", "real", cut_shutdown },
}
