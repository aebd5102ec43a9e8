-- probe.lua REAL|OUTSIDE|TASK - what a LuaSocket answers, a line for each call: LuaSocket itself, or asyncio.socket
-- where no loop runs, or in a task. returns_spec.lua compares them.
local where = ...
local socket = where == "REAL" and require "socket" or require "asyncio.socket"
local unix = where == "REAL" and require "socket.unix" or socket.unix

local function text(value)
  if type(value) == "string" then
    return ("%q"):format(value):gsub("0x%x+", "ADDRESS"):gsub("'asyncio%.socket%.", "'socket.")
      :gsub("'socket%.core%.", "'socket."), nil
  end
  if type(value) == "table" then
    local keys = {}
    for key in pairs(value) do keys[#keys + 1] = tostring(key) end
    table.sort(keys)
    return "{" .. table.concat(keys, " ") .. "}"
  end
  return (tostring(value):gsub("0x%x+", "ADDRESS"))
end

local function show(what, ...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = text(values[i]) end
  print(("%s -> %s (%d)"):format(what, table.concat(values, ", "), values.n))
end

--- What a call raises, without the place.
local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  return ok, type(err) == "string" and err:gsub("^[^ ]*:%d+: ", "") or err
end

local function await_input(...)
  socket.select({ ... }, nil, 5)
end

local function pair()
  local server = assert(socket.bind("127.0.0.1", 0))
  local ip, port = server:getsockname()
  local client = assert(socket.connect(ip, port))
  local peer = assert(server:accept())
  server:close()
  client:settimeout(0)
  return client, peer
end

local parts = {}

function parts.names()
  show("fields", socket._VERSION, socket._SETSIZE, socket._DATAGRAMSIZE, socket._SOCKETINVALID, socket.BLOCKSIZE)
  for _, name in ipairs { "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6" } do
    local s = assert(socket[name]())
    show(name, tostring(s), s.class, getmetatable(s).__name, s:getfamily(), s:dirty(), s:gettimeout())
    show(name .. " fd", s:getfd() >= 0, math.type(s:getfd()), s:close(), s:getfd(), s:close())
    local methods = {}
    for key, value in pairs(getmetatable(s).__index) do methods[#methods + 1] = key .. "=" .. type(value) end
    table.sort(methods)
    show(name .. " methods", table.concat(methods, " "))
  end
  for _, name in ipairs { "stream", "dgram", "tcp", "udp" } do
    local s = assert(unix[name]())
    show("unix " .. name, tostring(s), s.class, s:close())
  end
  show("unix()", tostring(unix()), failure(unix, 1))
end

function parts.functions()
  local names = {}
  for name, value in pairs(socket) do
    if name ~= "unix" then names[#names + 1] = name .. "=" .. type(value) end
  end
  table.sort(names)
  for _, name in ipairs(names) do print(name) end
  show("skip", socket.skip(2, 1, 2, 3), socket.skip(0, "a"))
  show("skip all", socket.skip(9, 1))
  show("sleep", socket.sleep(0), socket.sleep(-1), socket.sleep(0.001))
  show("sleep nothing", failure(socket.sleep))
  show("gettime", math.abs(socket.gettime() - os.time()) < 10)
end

function parts.receive()
  local client, peer = pair()
  show("states", tostring(client), tostring(peer))
  show("none", client:receive())
  show("none of 0", client:receive(0))
  peer:send "abc"
  await_input(client)
  show("too few", client:receive(5))
  show("they are gone", client:receive(1))
  peer:send "one\r\ntwo\r\r\n\n\rthr\ree\nrest"
  await_input(client)
  show("dirty", client:dirty())
  for i = 1, 5 do show("line " .. i, client:receive "*l") end
  show("dirty", client:dirty())
  peer:send "0123456789"
  await_input(client)
  show("0", client:receive(0))
  show("dirty", client:dirty())
  show("a number in a string", client:receive "2")
  show("prefix", client:receive(4, "ab"))
  show("a prefix that is enough", client:receive(2, "ab"))
  show("a longer one", client:receive(1, "abc"))
  show("a number as prefix", client:receive(4, 12))
  show("fraction", client:receive(1.9))
  show("prefix of a line", client:receive("*l", "pre"))
  show("long name", (function() peer:send "x\n" await_input(client) return client:receive "*line" end)())
  for _, pattern in ipairs { "l", "a", "*n", "", "*" } do
    show("pattern " .. pattern, failure(client.receive, client, pattern))
  end
  show("negative", failure(client.receive, client, -1))
  show("a table", failure(client.receive, client, {}))
  show("nil", (function() peer:send "nil\n" await_input(client) return client:receive(nil) end)())
  peer:send "tail"
  peer:close()
  await_input(client)
  show("line at the end", client:receive())
  show("again", client:receive())
  show("all of nothing", client:receive("*a", "pre"))
  show("0 of nothing", client:receive(0))
  client:close()
  show("closed", client:receive())
  show("closed, prefix", client:receive(9, "pre"))
  show("closed, enough", client:receive(2, "pre"))
end

function parts.all()
  local client, peer = pair()
  peer:send(("x"):rep(20000))
  await_input(client)
  local got, err, rest = client:receive(100000)
  while #rest < 20000 do
    await_input(client)
    got, err, rest = client:receive(100000, rest)
  end
  show("partial", got, err, #rest)
  peer:send "more"
  peer:shutdown "send"
  await_input(client)
  show("all", client:receive("*a", "and "))
  show("once more", client:receive "*a")
  show("stats", (client:getstats()), select("#", client:getstats()))
  show("set", client:setstats(1, 2, 3), select("#", client:getstats()))
  show("sent", (client:getstats()), (select(2, client:getstats())))
  peer:close()
end

function parts.send()
  local client, peer = pair()
  show("send", client:send "hello")
  show("from", client:send("hello", 2))
  show("part", client:send("hello", 2, 3))
  show("from the end", client:send("hello", -3, -2))
  show("beyond", client:send("hello", 0, 99))
  show("nothing", client:send("hello", 4, 2))
  show("nothing at all", client:send "")
  show("number", client:send(12))
  show("table", failure(client.send, client, {}))
  await_input(peer)
  show("got", peer:receive(20))
  local block = ("x"):rep(1 << 20)
  local last, err, sent
  repeat last, err, sent = client:send(block) until not last
  show("full", last, err, math.type(sent), sent < 1 << 20)
  peer:close()
  socket.sleep(0.01)
  show("after the end", client:send "x")
  client:close()
  show("closed", client:send "x")
  show("closed, from", client:send("hello", 3))
end

function parts.connect()
  local server = assert(socket.bind("127.0.0.1", 0))
  local ip, port, family = server:getsockname()
  show("name", ip, type(port), family, tonumber(port) > 0)
  show("peer of a server", server:getpeername())
  local unused = assert(socket.tcp4())
  unused:bind("127.0.0.1", 0)
  local _, dead = unused:getsockname()
  show("refused", socket.connect("127.0.0.1", dead))
  local c = socket.tcp()
  show("unnamed", c:getsockname())
  show("refused", c:connect("127.0.0.1", dead))
  show("is a client", tostring(c), c:getfamily())
  show("connects then", c:connect("127.0.0.1", port), (select(3, c:getpeername())))
  show("again", c:connect("127.0.0.1", port))
  local d = socket.tcp()
  d:settimeout(0)
  show("at once", d:connect("127.0.0.1", port))
  show("writable", #select(2, socket.select(nil, { d }, 5)))
  show("done", d:connect("127.0.0.1", port))
  show("bad name", socket.connect("no.such.host.invalid", 1))
  show("bad service", socket.connect("127.0.0.1", "no-such-service"))
  show("bad family", failure(socket.connect, "127.0.0.1", port, nil, nil, "ipx"))
  show("no port", failure(socket.connect, "127.0.0.1"))
  show("no address", failure(socket.connect))
  show("from", (select(2, assert(socket.connect("127.0.0.1", port, "127.0.0.1", 0)):getpeername())) == tonumber(port))
  show("from nowhere", socket.connect("127.0.0.1", port, "203.0.113.1", 0))
  show("4", tostring(socket.connect4("127.0.0.1", port)), "6", tostring(socket.connect6("127.0.0.1", port)))
  show("bad self", failure(c.connect, {}, "a", 1))
  show("wrong state", failure(c.accept, c))
  show("wrong state", failure(server.receive, server))
  show("wrong kind", failure(c.receive, socket.udp()))
  show("listen", failure(c.listen, c))
  show("methods", failure(function() return c:nothing() end))
end

function parts.servers()
  show("bind", tostring(socket.bind("*", 0)))
  local server = assert(socket.bind("127.0.0.1", 0, 1))
  local _, port = server:getsockname()
  show("in use", socket.bind("127.0.0.1", port))
  show("bad host", socket.bind("no.such.host.invalid", 0))
  show("bad address", socket.bind("203.0.113.1", 0))
  server:settimeout(0)
  show("accept", server:accept())
  local m = socket.tcp()
  show("listen without an address", m:listen())
  show("bind", m:bind("127.0.0.1", 0))
  show("bind twice", m:bind("127.0.0.1", 0))
  show("bind nothing", failure(m.bind, m))
  show("listen", m:listen(5), tostring(m))
  show("setsockname", socket.tcp():setsockname("127.0.0.1", 0))
  server:close()
  show("closed", server:accept())
  show("its name", server:getsockname())
end

function parts.options()
  local client, peer = pair()
  for _, name in ipairs { "keepalive", "reuseaddr", "reuseport", "tcp-nodelay" } do
    show(name, client:getoption(name), client:setoption(name, true), client:getoption(name))
    show(name, client:setoption(name, false))
    show(name, failure(client.setoption, client, name), failure(client.setoption, client, name, 1))
  end
  for _, name in ipairs { "tcp-keepidle", "tcp-keepcnt", "tcp-keepintvl" } do
    show(name, client:setoption(name, 7), client:getoption(name))
  end
  show("linger", client:getoption "linger", client:setoption("linger", { on = true, timeout = 3 }))
  show("linger", client:getoption("linger").timeout)
  show("linger", failure(client.setoption, client, "linger", 1))
  show("linger", failure(client.setoption, client, "linger", {}))
  show("linger", failure(client.setoption, client, "linger", { on = true }))
  show("error", client:getoption "error")
  show("sizes", client:setoption("recv-buffer-size", 10000), client:getoption "recv-buffer-size" >= 10000)
  show("unknown", failure(client.setoption, client, "no-such-option", 1))
  show("unknown", failure(client.getoption, client, ("no-such-option"):rep(9)))
  show("not to be got", failure(client.getoption, client, "ipv6-v6only"))
  show("none", failure(client.setoption, client))
  show("timeouts", client:settimeout(1.5), client:gettimeout())
  show("total", client:settimeout(2, "t"), client:gettimeout())
  show("none", client:settimeout(), client:settimeout(nil, "t"), client:gettimeout())
  show("mode", failure(client.settimeout, client, 1, "x"))
  show("mode", client:settimeout(1, "real"), client:gettimeout())
  show("no number", failure(client.settimeout, client, "x"))
  show("shutdown", client:shutdown(), peer:shutdown "receive", failure(peer.shutdown, peer, "x"))
  client:close()
  show("closed", client:getoption "keepalive")
  show("closed", client:setoption("keepalive", true))
  show("closed", client:shutdown())
end

function parts.timeouts()
  local client = pair()
  local function time_of(...)
    client:settimeout(...)
    local got, err
    local least = math.huge -- of some: a busy machine makes each as long as it likes
    for _ = 1, 5 do
      local begin = socket.gettime()
      got, err = client:receive()
      least = math.min(least, socket.gettime() - begin)
    end
    return got, err, math.floor(least / 0.05 + 0.5)
  end
  show("b", time_of(0.05))
  show("t", time_of(0.1, "t"))
  client:settimeout(nil, "b")
  show("t alone", time_of(0.15, "t"))
  show("none left", time_of(0, "t"))
end

function parts.select()
  local client, peer = pair()
  local other, other_peer = pair()
  show("nothing", socket.select(nil, nil, 0))
  show("nothing for a while", socket.select({}, {}, 0.01))
  show("not yet", socket.select({ client, other }, nil, 0))
  peer:send "ab"
  await_input(client)
  local r, w, err = socket.select({ other, client }, { client }, 0)
  show("some", #r, #w, err, r[1] == client, r[client], r[other], w[client])
  client:receive(1)
  other_peer:send "x"
  r, w, err = socket.select({ other, client }, { other }, 0)
  show("dirty goes first", #r, #w, err, r[1] == client, r[2])
  local object = { getfd = function() return other:getfd() end }
  r = socket.select({ object }, nil, 5)
  show("objects", r[1] == object, r[object])
  show("without getfd", socket.select({ {} }, nil, 0))
  show("closed", (function() peer:close() return socket.select({ peer }, nil, 0) end)())
  show("no list", failure(socket.select, 1))
  show("numbers", failure(socket.select, { 1 }))
  show("no time", failure(socket.select, nil, nil, "x"))
  local server = socket.bind("127.0.0.1", 0)
  local asks = socket.tcp()
  asks:settimeout(0)
  asks:connect(server:getsockname())
  show("a client comes", #socket.select({ server }, nil, 5), #select(2, socket.select(nil, { asks }, 5)))
end

function parts.udp()
  local a, b = socket.udp(), socket.udp()
  show("unnamed", a:getsockname())
  show("bind", a:setsockname("127.0.0.1", 0), a:getfamily())
  local ip, port = a:getsockname()
  a:settimeout(0)
  show("none", a:receive())
  show("none from", a:receivefrom())
  show("sendto", b:sendto("hello", ip, port), b:sendto("", ip, port), b:sendto("truncated", ip, port))
  await_input(a)
  local got, from, number = a:receivefrom()
  show("from", got, from, number == tonumber((select(2, b:getsockname()))), math.type(number))
  show("empty", a:receive())
  show("cut", a:receive(3))
  show("bad address", b:sendto("x", "localhost.invalid", 1))
  show("bad port", b:sendto("x", ip, "http"))
  show("nothing", failure(b.sendto, b))
  show("too large", b:sendto(("x"):rep(70000), ip, port))
  show("large", b:sendto(("x"):rep(60000), ip, port), (function() await_input(a) return #a:receive(65536) end)())
  show("peer", b:setpeername(ip, port), tostring(b), b:getpeername() == ip)
  show("wrong state", failure(b.sendto, b, "x", ip, port))
  show("wrong state", failure(b.receivefrom, b))
  show("send", b:send "hi", (function() await_input(a) return a:receive() end)())
  show("no peer again", b:setpeername "*", tostring(b))
  show("wrong state", failure(b.send, b, "x"))
  show("options", b:setoption("broadcast", true), b:getoption "broadcast", b:getoption "dontroute", b:getoption "error")
  show("multicast", b:setoption("ip-multicast-ttl", 3), b:setoption("ip-multicast-loop", false))
  show("multicast", b:getoption "ip-multicast-loop")
  show("multicast", b:setoption("ip-multicast-if", "127.0.0.1"), b:getoption "ip-multicast-if")
  show("multicast", failure(b.setoption, b, "ip-multicast-if", "x"))
  show("member", failure(b.setoption, b, "ip-add-membership", { multiaddr = "224.0.1.9" }))
  show("member", failure(b.setoption, b, "ip-add-membership", { multiaddr = "x", interface = "*" }))
  show("member", b:setoption("ip-add-membership", { multiaddr = "224.0.1.9", interface = "127.0.0.1" }))
  show("member", b:setoption("ip-drop-membership", { multiaddr = "224.0.1.9", interface = "127.0.0.1" }))
  show("member", failure(b.setoption, b, "ipv6-add-membership", { multiaddr = "x" }))
  show("unknown", failure(b.setoption, b, "keepalive", true))
  show("dead", b:setpeername("127.0.0.1", 1), b:send "x")
  b:settimeout(1)
  show("refused", b:receive())
  show("close", b:close(), b:send "x")
  show("closed", b:receive())
end

--- Descriptors that a program takes from one object and gives to another.
function parts.handles()
  local client, peer = pair()
  local other, fd = socket.tcp(), client:getfd()
  other:close()
  show("setfd", other:setfd(fd))
  show("has it", other:getfd() == fd, other:getpeername() ~= nil, tostring(other))
  show("setfd", client:setfd(-1))
  show("has none", client:getfd(), client:receive())
  show("has none", client:send "x")
  show("no number", failure(client.setfd, client))
  peer:send "x"
  await_input(other)
  local sender, receiver = socket.udp(), socket.udp()
  sender:close()
  receiver:setsockname("127.0.0.1", 0)
  local ip, port = receiver:getsockname()
  local third = socket.udp4()
  show("udp", sender:setfd(third:getfd()), third:setfd(-1))
  show("udp", sender:sendto("hi", ip, port), receiver:receive(), third:receive())
  show("close", other:close(), sender:close(), peer:receive())
end

function parts.groups()
  local four, six = socket.udp4(), socket.udp6()
  local group = { multiaddr = "ff02::1:9", interface = 1 }
  show("member", six:setoption("ipv6-add-membership", group), six:setoption("ipv6-drop-membership", group))
  show("member", six:setoption("ipv6-drop-membership", group))
  show("member", failure(four.setoption, four, "ip-add-membership", { multiaddr = "224.0.1.9", interface = "x" }))
  show("hops", six:setoption("ipv6-multicast-hops", 3), six:getoption "ipv6-multicast-hops")
  show("hops", six:setoption("ipv6-unicast-hops", 9), six:getoption "ipv6-unicast-hops")
  show("loop", six:setoption("ipv6-multicast-loop", false), six:getoption "ipv6-multicast-loop")
  local server = socket.bind("localhost", 0)
  show("by name", (server:getsockname()), server:close())
  show("by name", socket.bind("no.such.host.invalid", 0))
end

--- What unix sockets have of the methods of others.
local function unix_methods(path)
  local server, client = unix.stream(), unix.stream()
  server:bind(path)
  server:listen()
  client:connect(path)
  local peer, other = server:accept(), unix.stream()
  show("stream fd", client:getfd() >= 0, client:dirty(), client:setstats(1, 2), (client:getstats()))
  show("stream shutdown", client:shutdown "send", peer:receive())
  show("stream setfd", other:setfd(client:getfd()), client:setfd(-1), client:getfd(), client:receive())
  other:close()
  server:close()
  os.remove(path)
  local a, b, c = unix.dgram(), unix.dgram(), unix.dgram()
  a:bind(path)
  show("datagram", a:getsockname() == path, a:dirty(), a:getfd() >= 0, a:settimeout(0.5), a:gettimeout())
  show("datagram option", failure(a.setoption, a, "reuseaddr", true))
  b:connect(path)
  b:settimeout(0)
  local n = 0
  repeat n = n + 1 until not b:send "x"
  show("full", n > 1, b:send "x")
  show("full", b:settimeout(0.02), b:send "x")
  c:close()
  show("datagram setfd", c:setfd(a:getfd()), a:setfd(-1), a:getfd(), a:receive())
  show("taken", c:receive(), c:close())
  os.remove(path)
end

function parts.unix()
  local path = os.tmpname()
  os.remove(path)
  local server, client = unix.stream(), unix.stream()
  show("bind", server:bind(path), server:listen(), tostring(server), server:getsockname() == path)
  show("connect", client:connect(path), tostring(client), client:getsockname())
  local peer = server:accept()
  show("talk", peer:send "hi\n", client:receive(), client:dirty(), (client:getstats()))
  show("timeout", client:settimeout(0), client:receive())
  show("close", peer:close(), client:receive())
  show("option", client:setoption("keepalive", true), failure(client.setoption, client, "linger", 1))
  show("taken", unix.stream():bind(path))
  show("too long", unix.stream():bind(("x"):rep(200)))
  show("nobody", unix.stream():connect(path .. "x"))
  show("wrong state", failure(client.connect, client, path))
  server:close()
  os.remove(path)
  local a, b = unix.dgram(), unix.dgram()
  show("bind", a:bind(path), b:sendto("hello", path), a:receivefrom())
  show("connect", b:connect(path), tostring(b), b:send "x", a:receive())
  show("timeout", a:settimeout(0), a:receive())
  a:close()
  show("refused", b:send "x")
  os.remove(path)
  unix_methods(path)
end

function parts.dns()
  show("ip", (socket.dns.toip "localhost"), select(2, socket.dns.toip "localhost"))
  show("unknown", socket.dns.toip "no.such.host.invalid")
  show("numeric", (socket.dns.toip "127.0.0.1"))
  show("name", type((socket.dns.tohostname "127.0.0.1")))
  show("no name", socket.dns.tohostname "no.such.host.invalid")
  local list = socket.dns.getaddrinfo "127.0.0.1"
  show("addresses", #list, list[1].family, list[1].addr)
  list = socket.dns.getaddrinfo "::1"
  show("addresses", #list, list[1].family, list[1].addr)
  show("none", socket.dns.getaddrinfo "no.such.host.invalid")
  show("names", type(socket.dns.getnameinfo("127.0.0.1", nil)), select("#", socket.dns.getnameinfo("127.0.0.1")))
  show("service", select(2, socket.dns.getnameinfo(nil, "80")))
  show("nothing", failure(socket.dns.getnameinfo))
  show("host", socket.dns.gethostname() ~= "")
  for name, fn in pairs { toip = socket.dns.toip, tohostname = socket.dns.tohostname } do
    if not pcall(fn) then show("no name", (select(2, failure(socket.dns.toip))):gsub(name, "X")) end
  end
end

function parts.errors()
  local try = socket.newtry(function() print "cleaning" end)
  show("fine", try(1, 2, nil))
  show("caught", socket.protect(function() try(nil, "oops") end)())
  show("false", socket.protect(function() try(false, "oops", "more") end)())
  show("nothing", socket.protect(function() try() end)())
  show("a table", socket.protect(function() try(nil, { 1 }) end)())
  show("values", socket.protect(function(...) return ... end)(1, nil, 3, nil))
  show("others", failure(socket.protect(function() error("other", 0) end)))
  show("tables", failure(socket.protect(function() error { 1 } end)))
  show("bare", select("#", pcall(socket.try, nil, "oops")))
  local _, err = pcall(socket.try, nil, "oops")
  show("bare", type(err), getmetatable(err), err[1], pcall(setmetatable, err, nil))
  show("nested", socket.protect(function() return socket.protect(function() socket.try(nil, "in") end)() end)())
  show("no function", failure(socket.protect(nil)))
  local yields = coroutine.wrap(function() return socket.protect(function() return coroutine.yield "y" end)() end)
  show("yield", yields(), yields "back")
end

function parts.sources()
  local client, peer = pair()
  client:settimeout(5)
  local sink = socket.sink("keep-open", peer)
  show("sink", sink "hello", sink(nil))
  local source = socket.source("by-length", client, 5)
  show("source", source(), source(), source.getfd() == client:getfd(), source.dirty())
  sink = socket.sink("close-when-done", peer)
  show("sink", sink "tail", sink(nil))
  source = socket.source("until-closed", client)
  show("source", source(), source())
  show("default", type(socket.sink(peer)), type(socket.source(client)))
  show("unknown", failure(socket.sink, "x", peer))
  show("choose", socket.choose { default = function(...) return ... end } (1, 2))
end

local function main()
  local names = {}
  for name in pairs(parts) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    print("[" .. name .. "]")
    parts[name]()
  end
end

if where == "TASK" then
  local asyncio = require "asyncio"
  coroutine = asyncio.coroutine -- luacheck: ignore
  asyncio.run(main)
else
  main()
end
