-- sec_probe.lua REAL|OUTSIDE|TASK FOLDER - what a LuaSec answers, a line for each call: LuaSec itself on LuaSocket, or
-- ours where no loop runs, or in a task. sec_returns_spec.lua compares them. FOLDER has the certificates.
local where, folder = ...
local real = where == "REAL"
local compat = not real and require "asyncio".compat
local socket = real and require "socket" or require "asyncio.socket"
local ssl = real and require "ssl" or compat.ssl

local function file(name) return folder .. "/" .. name end

local function read(name)
  local handle <close> = assert(io.open(file(name)))
  return (handle:read "a")
end

local function text(value)
  if type(value) == "string" then return (("%q"):format(value):gsub("0x%x+", "ADDRESS")) end
  if type(value) == "table" then
    local keys = {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for i, key in ipairs(keys) do keys[i] = tostring(key) .. "=" .. text(value[key]) end
    return "{" .. table.concat(keys, " ") .. "}"
  end
  return (tostring(value):gsub("0x%x+", "ADDRESS"))
end

local function show(what, ...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = text(values[i]) end
  print(("%s -> %s (%d)"):format(what, table.concat(values, ", "), values.n))
end

--- A call that may raise; the place, and what the function was called, are not shown.
local function try(what, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then return show(what, fn(...)) end
  show(what, (tostring(err):gsub("^[^ ]*:%d+: ", ""):gsub("to '[^']*'", "to it")))
end

local parts = {}

-- Contexts

local function context(what, fields)
  local cfg = { mode = "client", protocol = "any" }
  for key, value in pairs(fields) do cfg[key] = value end
  local ctx, err = ssl.newcontext(cfg)
  show(what, ctx and tostring(ctx) or ctx, err)
end

function parts.contexts()
  for _, name in ipairs { "any", "sslv23", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "tlsv9", "" } do
    context("protocol " .. name, { protocol = name })
  end
  context("mode server", { mode = "server" })
  context("options", { options = "all" })
  context("options, a list", { options = { "all", "no_tlsv1", "no_ticket" } })
  context("options, unknown", { options = "rubbish" })
  context("options, a number", { options = { 4 } })
  context("options, none", { options = {} })
  context("verify", { verify = { "peer", "client_once", "fail_if_no_peer_cert" } })
  context("verify none", { verify = "none" })
  context("verify, unknown", { verify = "rubbish" })
  context("verifyext", { verifyext = { "lsec_continue", "lsec_ignore_purpose", "crl_check", "crl_check_chain" } })
  context("verifyext, unknown", { verifyext = "rubbish" })
  context("depth", { depth = 3 })
  context("ciphers", { ciphers = "HIGH" })
  context("ciphersuites", { ciphersuites = "TLS_AES_128_GCM_SHA256" })
  context("dane", { dane = { "no_ee_namechecks" } })
  context("dhparam, a number", { dhparam = 5 })
  try("no protocol", ssl.newcontext, {})
  try("protocol, a table", ssl.newcontext, { protocol = {} })
  try("no mode", ssl.newcontext, { protocol = "any" })
  try("depth, a word", ssl.newcontext, { protocol = "any", mode = "client", depth = "x" })
  try("dane, unknown", ssl.newcontext, { protocol = "any", mode = "client", dane = { "x" } })
end

function parts.files()
  local key, certificate = file "server.key", file "server.pem"
  context("key", { key = key })
  context("certificate", { certificate = certificate })
  context("certificate that is a key", { certificate = key })
  context("both", { key = key, certificate = certificate })
  context("no pair", { key = key, certificate = file "other.pem" })
  context("certificates", { certificates = { { key = key, certificate = certificate },
    { key = file "rsa.key", certificate = file "rsa.pem" } } })
  context("password", { key = file "locked.key", password = "sesame" })
  context("password, a function", { key = file "locked.key", password = function(...)
    show("asked", ...)
    return "sesame"
  end })
  context("password, a function that knows none", { key = file "locked.key", password = function() end })
  context("password without need", { key = key, password = function() show "asked" end })
  context("password, a number", { key = key, password = 5 })
  try("password, a function that fails", ssl.newcontext, { mode = "client", protocol = "any",
    key = file "locked.key", password = function() error("no", 0) end })
  context("cafile", { cafile = file "root.pem" })
  context("capath", { capath = "/nowhere" })
end

function parts.curves()
  context("curve", { curve = "prime256v1" })
  context("curve P-256", { curve = "P-256" })
  context("curve X25519", { curve = "X25519" })
  context("curve, unknown", { curve = "rubbish" })
  context("curveslist", { curveslist = "X25519:P-256" })
  context("curveslist, unknown", { curveslist = "rubbish:P-256" })
end

function parts.protocols()
  context("alpn", { alpn = "h2" })
  context("alpn, a list", { alpn = { "h2", "http/1.1" } })
  for _, alpn in ipairs { "", ("x"):rep(256), 5, {}, { 5 } } do
    context("alpn " .. text(alpn), { alpn = alpn })
    context("alpn of a server " .. text(alpn), { alpn = alpn, mode = "server" })
  end
  context("alpn of a server", { alpn = { "h2" }, mode = "server" })
  context("alpn of a server, a word", { alpn = "h2", mode = "server" })
  context("alpn of a server, a function", { alpn = print, mode = "server" })
end

function parts.names()
  local function keys(t)
    local list = {}
    for key, value in pairs(t) do list[#list + 1] = key .. "=" .. type(value) end
    table.sort(list)
    return list
  end
  show("module", keys(ssl), ssl._VERSION)
  show("config", keys(ssl.config))
  for _, name in ipairs { "options", "curves", "protocols", "algorithms", "capabilities" } do
    show("config." .. name, ssl.config[name])
  end
  local ctx = ssl.newcontext { mode = "client", protocol = "any" }
  local connection = ssl.wrap(socket.tcp(), ctx)
  for _, object in ipairs { ctx, connection, ssl.loadcertificate(read "server.pem") } do
    local meta = getmetatable(object)
    show("object", tostring(object), meta.__name, type(meta.__close), type(meta.__gc), keys(meta.__index))
  end
end

-- Certificates

function parts.certificates()
  local function load(name) return ssl.loadcertificate(read(name)) end
  for _, name in ipairs { "server.pem", "client.pem", "rsa.pem", "root.pem", "self_signed.pem" } do
    local c = load(name)
    for _, method in ipairs { "digest", "extensions", "getsignaturename", "issuer", "notafter", "notbefore", "pem",
      "pubkey", "serial", "subject" } do
      show(name .. " " .. method, c[method](c))
    end
  end
  local c, root, between = load "server.pem", load "root.pem", load "intermediate.pem"
  for _, name in ipairs { "sha1", "sha256", "sha512", "md5", "" } do show("digest " .. name, c:digest(name)) end
  for _, name in ipairs { "ai5", "utf8", "x" } do show("setencode " .. name, c:setencode(name)) end
  show("subject in UTF-8", c:subject(), c:extensions())
  show("validat", c:validat(os.time()), c:validat(0), c:validat(9000000000))
  show("issued", root:issued(c, between))
  show("issued without what is between", root:issued(c))
  show("issued by another", load "self_signed.pem":issued(c))
  show("issued by itself", root:issued(root))
  try("issued whom", c.issued, c)
  try("validat when", c.validat, c)
  try("setencode how", c.setencode, c)
  try("not of a certificate", c.pem, io.stdout)
  show("no certificate", ssl.loadcertificate "rubbish")
  try("no text", ssl.loadcertificate)
end

-- Connections

local listener = assert(socket.bind("127.0.0.1", 0))
local _, port = listener:getsockname()

local function defaults(given, with)
  local all = {}
  for _, list in ipairs { with, given } do
    for key, value in pairs(list) do all[key] = value end
  end
  return all
end

local function pair(near, far)
  local c = assert(socket.connect("127.0.0.1", port))
  local p = assert(listener:accept())
  local a = assert(ssl.wrap(c, defaults(near, { mode = "client", protocol = "any" })))
  local b = assert(ssl.wrap(p, defaults(far, { mode = "server", protocol = "any", key = file "server.key",
    certificate = file "server.pem" })))
  a:settimeout(0)
  b:settimeout(0)
  return a, b
end

--- Until both have an answer that isn't "wait".
local function shake(a, b)
  local sides = { a, b }
  local ends = {}
  for _ = 1, 20 do
    for i, side in ipairs(sides) do
      if not ends[i] then
        local ok, err = side:dohandshake()
        if err ~= "wantread" and err ~= "wantwrite" then ends[i] = { ok, err } end
      end
    end
    if ends[1] and ends[2] then break end
    socket.sleep(0.002)
  end
  show("shaken", table.unpack(ends))
  return ends[1] and ends[1][1] and ends[2] and ends[2][1]
end

local function digests(list)
  for i, c in ipairs(list) do list[i] = c:digest() end
  return list
end

local function facts(who, c)
  show(who, c:getalpn(), c:getsniname(), c:want(), c:dirty())
  show(who .. " verification", c:getpeerverification())
  show(who .. " info", c:info())
  show(who .. " info fields", c:info "cipher", c:info "compression", c:info "rubbish")
  show(who .. " finished", #c:getfinished(), #c:getpeerfinished())
  for i = -1, 3 do
    local cert, err = c:getpeercertificate(i)
    show(who .. " certificate " .. i, cert and cert:digest(), err)
  end
  if c:getpeercertificate() then show(who .. " chain", digests(c:getpeerchain())) end
end

local function meet(what, near, far, before)
  print("-- " .. what)
  local a, b = pair(near, far)
  if before then before(a, b) end
  if shake(a, b) then
    facts("near", a)
    facts("far", b)
    show("keys", a:exportkeyingmaterial("EXPORTER-x", 32) == b:exportkeyingmaterial("EXPORTER-x", 32),
      a:exportkeyingmaterial("EXPORTER-x", 32, "y") == b:exportkeyingmaterial("EXPORTER-x", 32))
    show("ends", a:getfinished() == b:getpeerfinished(), b:getfinished() == a:getpeerfinished())
  else
    show("near verification", a:getpeerverification())
  end
  a:close()
  b:close()
end

function parts.meetings()
  meet("any", {}, {})
  meet("TLS 1.2", { protocol = "tlsv1_2" }, {})
  meet("TLS 1.3", { protocol = "tlsv1_3" }, {})
  meet("none in common", { protocol = "tlsv1_2" }, { protocol = "tlsv1_3" })
  meet("options", {}, { options = { "all", "no_ticket", "no_tlsv1_3" } })
  meet("a cipher", { protocol = "tlsv1_2", ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384" }, {})
  meet("a suite", { ciphersuites = "TLS_CHACHA20_POLY1305_SHA256" }, {})
  meet("a curve", { curve = "P-384" }, {})
  meet("other curves", { curve = "P-384" }, { curve = "P-256" })
  meet("no certificate", {}, { key = false, certificate = false })
end

function parts.trust()
  local root = file "root.pem"
  meet("trusted", { verify = "peer", cafile = root }, {})
  meet("not trusted", { verify = "peer" }, {})
  meet("not trusted, whatever", { verify = "peer", verifyext = "lsec_continue" }, {})
  meet("not asked", { verify = "none" }, {})
  meet("too deep", { verify = "peer", cafile = root, depth = 0 }, {})
  meet("purpose", { verify = "peer", cafile = root, verifyext = "lsec_ignore_purpose" }, {})
  meet("no list of revoked ones", { verify = "peer", cafile = root, verifyext = { "crl_check", "lsec_continue" } }, {})
  local own = { key = file "client.key", certificate = file "client.pem" }
  local asks = { verify = { "peer", "fail_if_no_peer_cert" }, cafile = root }
  meet("a client's", own, asks)
  meet("a client's, of 1.2", defaults({ protocol = "tlsv1_2" }, own), asks)
  meet("a client's that is lacking", { protocol = "tlsv1_2" }, asks)
  local whatever = { cafile = file "stranger.pem", verifyext = "lsec_continue" }
  meet("a client's that is not trusted", own, defaults(whatever, asks))
end

function parts.names_asked()
  local other = assert(ssl.newcontext { mode = "server", protocol = "any", key = file "other.key",
    certificate = file "other.pem" })
  local function names(name, strict)
    return function(a, b)
      if name then a:sni(name) end
      b:sni({ ["www.example.org"] = other }, strict)
    end
  end
  meet("sni", {}, {}, function(a) a:sni "www.example.org" end)
  meet("sni, found", {}, {}, names("www.example.org", true))
  meet("sni, another", {}, {}, names "example.com")
  meet("sni, another, strict", {}, {}, names("example.com", true))
  meet("sni, none", {}, {}, names(nil, true))
  local near, far = { alpn = { "h2", "http/1.1" } }, { alpn = { "http/1.1" } }
  meet("alpn", near, far)
  meet("alpn, none in common", near, { alpn = { "x" } })
  for _, answer in ipairs { "http/1.1", { "x", "h2" }, 5, false } do
    meet("alpn by a function: " .. text(answer), near, { alpn = function(...)
      show("asked", ...)
      return answer
    end })
  end
  meet("alpn of the server alone", {}, { alpn = function() show "asked" end })
end

function parts.dane()
  local digest = ssl.loadcertificate(read "server.pem"):digest "sha256"
  local right = digest:gsub("..", function(hex) return string.char(tonumber(hex, 16)) end)
  local function record(bytes)
    return function(a)
      show("setdane", a:setdane "localhost")
      show("settlsa", a:settlsa(3, 0, 1, bytes))
      show("settlsa, wrong", a:settlsa(9, 9, 9, "x"))
    end
  end
  meet("dane", { dane = true, verify = "peer" }, {}, record(right))
  meet("dane, another's", { dane = true, verify = "peer" }, {}, record(("x"):rep(32)))
  meet("dane, not switched on", {}, {}, record(right))
end

function parts.bytes()
  local a, b = pair({}, {})
  show("before", a:receive(1))
  show("before", a:send "x")
  shake(a, b)
  show("send", b:send "line 1\r\nline 2\nrest")
  a:settimeout(5)
  show("line", a:receive())
  show("line", a:receive "*l")
  show("dirty", a:dirty())
  show("two", a:receive(2))
  a:settimeout(0.02)
  show("all", a:receive "*a")
  show("prefix", a:receive(1, "pre"))
  show("prefix and none", a:receive(10, "pre"))
  a:settimeout(0)
  show("none", a:receive(0))
  show("a part", a:send("abcdef", 2, 4))
  show("the end", a:send("abcdef", -2))
  b:settimeout(5)
  show("receive", b:receive(5))
  try("a pattern", a.receive, a, "*x")
  try("nothing", a.send, a)
  show("stats", (a:getstats()), (select(2, a:getstats())))
  show("stats set", a:setstats(1, 2), (a:getstats()))
  show("closed", a:close())
  show("all", b:receive "*a")
  show("again", b:receive "*a")
  b:close()
end

function parts.much()
  local a, b = pair({}, {})
  shake(a, b)
  local big, at, got, size = ("0123456789"):rep(100000), 0, {}, 0
  while size < #big do
    local last, _, partly = b:send(big, at + 1)
    at = math.tointeger(last or partly)
    local data, _, some = a:receive(77777)
    got[#got + 1] = data or some
    size = size + #got[#got]
    if at == #big and #got[#got] == 0 then socket.sleep(0.001) end
  end
  show("much", table.concat(got) == big, (a:getstats()), (select(2, b:getstats())))
end

function parts.ends()
  local function raw() return assert(socket.connect("127.0.0.1", port)), assert(listener:accept()) end
  local cfg = { mode = "client", protocol = "any" }
  local c, p = raw()
  local a = ssl.wrap(c, cfg)
  show("the socket has no descriptor", c:getfd(), a:getfd() >= 0)
  a:settimeout(5)
  p:send "HTTP/1.1 400 Bad Request\r\n\r\n"
  show("no TLS", a:dohandshake())
  c, p = raw()
  a = ssl.wrap(c, cfg)
  a:settimeout(5)
  p:close()
  show("closed", a:dohandshake())
  c, p = raw()
  a = ssl.wrap(c, cfg)
  a:settimeout(0.02, "t")
  show("silent", a:dohandshake())
  show("want", a:want())
  p:close()
  show("close", a:close())
  c, p = raw()
  a = ssl.wrap(p, defaults({ mode = "server" }, cfg))
  a:settimeout(5)
  c:send "GET / HTTP/1.0\r\n\r\n"
  show("no TLS", a:dohandshake())
  local b
  a, b = pair({}, {})
  shake(a, b)
  b:send "half"
  c, p = raw()
  c:close()
  p:close()
  c:setfd(b:getfd())
  c:shutdown "send"
  c:setfd(-1)
  a:settimeout(5)
  show("cut off", a:receive(4))
  show("cut off", a:receive(1))
end

function parts.wrong()
  local ctx = assert(ssl.newcontext { mode = "client", protocol = "any" })
  local w = assert(ssl.wrap(socket.tcp(), ctx))
  show("unconnected", w:getfd())
  show("shake", w:dohandshake())
  for _, method in ipairs { "receive", "want", "dirty", "getalpn", "getfinished", "getpeercertificate", "getpeerchain",
    "getpeerfinished", "getpeerverification", "getsniname", "info", "exportkeyingmaterial", "settimeout", "setdane",
    "settlsa", "sni", "send" } do
    try(method, w[method], w)
  end
  show("send", w:send "x")
  show("sni", w:sni "www.example.org", w:getsniname())
  try("sni, a table", w.sni, w, {})
  try("a limit", w.settimeout, w, "x")
  try("a mode", w.settimeout, w, 1, "q")
  show("setverifyext", ctx:setverifyext(), ctx:setverifyext "lsec_continue")
  show("setverifyext, unknown", ctx:setverifyext "rubbish")
  try("setverifyext of another", ctx.setverifyext, io.stdout)
  try("of another", w.receive, io.stdout)
  try("of another", w.getalpn, io.stdout)
  try("no context", ssl.wrap, socket.tcp())
  try("no context", ssl.wrap, socket.tcp(), 5)
  try("no socket", ssl.wrap, 5, ctx)
  show("close", w:close())
  show("close", w:close())
  show("closed", w:getfd(), w:want(), w:dirty(), tostring(w))
end

local names = {}
for name in pairs(parts) do names[#names + 1] = name end
table.sort(names)

local function all()
  for _, name in ipairs(names) do
    print(("[%s]"):format(name))
    parts[name]()
  end
end

if where == "TASK" then require "asyncio".run(all) else all() end
