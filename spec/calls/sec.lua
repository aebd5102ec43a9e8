-- LuaSec's connections: a cancelled receive has taken nothing, a cancelled handshake goes on, and what a cancelled send
-- has sent is the first part of it.
local asyncio = require "asyncio"
local pieces = require "calls.pieces"
local identity = require "identity"

local WITHOUT_IT = not pcall(require, "asyncio.openssl") -- built without OpenSSL: there are no cases then
if WITHOUT_IT then return {} end

local socket, ssl = asyncio.socket, asyncio.compat.ssl

--- A file with the text, until the state is closed.
local function file_with(text)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(text)
  debug.getregistry()[setmetatable({}, { __gc = function() os.remove(name) end })] = true
  return name
end

local certificate, key = file_with(identity.cert), file_with(identity.key)

local contexts = {}

--- Both sides' contexts of that protocol.
local function contexts_of(protocol)
  contexts[protocol] = contexts[protocol] or {
    client = assert(ssl.newcontext { mode = "client", protocol = protocol, verify = "peer", cafile = certificate,
      alpn = { "x", "y" } }),
    server = assert(ssl.newcontext { mode = "server", protocol = protocol, certificate = certificate, key = key,
      alpn = function() return { "y" } end }),
  }
  return contexts[protocol]
end

local function wrapped(c)
  local both = contexts_of(c.one_of { "any", "tlsv1_2" })
  local listener = assert(socket.bind("127.0.0.1", 0))
  local client = assert(socket.connect("127.0.0.1", (select(2, listener:getsockname()))))
  local peer = assert(listener:accept())
  listener:close()
  return assert(ssl.wrap(client, both.client)), assert(ssl.wrap(peer, both.server))
end

local function pair(c)
  local client, peer = wrapped(c)
  local served = asyncio.create_task(peer.dohandshake, peer)
  assert(client:dohandshake())
  assert(asyncio.await(served))
  return client, peer
end

return {
  { "secure receive", "real", function(c)
    local client, peer = pair(c)
    local text, got = pieces.lines(c, 12), {}
    local feeder = pieces.feed(c, peer, text, peer.close)
    if c.random(3) == 1 then client:settimeout(c.one_of { 0, 0.0002 }, c.one_of { "b", "t" }) end
    return function()
      for _ = 1, 30 do
        local bytes, _, partial
        if c.random(2) == 1 then
          bytes, _, partial = client:receive()
          bytes = bytes and bytes .. "\n"
        else
          bytes, _, partial = client:receive(c.one_of { 0, 1, 50, 500 })
        end
        got[#got + 1] = bytes or partial
        if c.random(8) == 1 then c.pass() end
      end
    end, function()
      client:settimeout()
      client:settimeout(nil, "t")
      local rest = client:receive "*a" or ""
      assert(table.concat(got) .. rest == text, "bytes were lost")
      asyncio.await(feeder)
      client:close()
    end
  end },

  { "secure dohandshake", "real", function(c)
    local client, peer = wrapped(c)
    local served = asyncio.create_task(function()
      if c.random(2) == 1 then c.pass() end
      return peer:dohandshake()
    end)
    return function() return client:dohandshake() end, function()
      assert(client:dohandshake())
      assert(asyncio.await(served))
      assert(client:getalpn() == "y" and client:getpeerverification())
      client:send "x\n"
      assert(peer:receive() == "x")
      client:close()
      peer:close()
    end
  end },

  { "secure send", "real", function(c)
    local client, peer = pair(c)
    local text = pieces.lines(c, 300):rep(150)
    local got
    local reads = asyncio.create_task(function()
      local all, _, partial = peer:receive "*a"
      got = all or partial
    end)
    return function()
      for at = 1, #text, 200000 do
        client:send(text, at, math.min(at + 199999, #text))
        c.pass()
      end
    end, function()
      client:close()
      asyncio.await(reads)
      assert(text:sub(1, #got) == got, "other bytes came")
      peer:close()
    end
  end },
}
