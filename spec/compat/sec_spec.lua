-- LuaSec's connections in tasks: what waits, is cancelled, closed by others, or fails in a function of the program's.
local t = require "helper"
local program = require "program"
local secure = require "secure"

local asyncio = t.asyncio
local socket, ssl = asyncio.socket, asyncio.compat.ssl
local file = secure.certificates.file

local function config(mode, more)
  local cfg = { mode = mode, protocol = "any" }
  if mode == "server" then cfg.key, cfg.certificate = file "server.key", file "server.pem" end
  return secure.joined(cfg, more)
end

local function tcp_pair()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local client = assert(socket.connect("127.0.0.1", (select(2, listener:getsockname()))))
  local peer = assert(listener:accept())
  listener:close()
  return client, peer
end

--- Two ends that haven't shaken hands.
local function wrapped(near, far)
  local client, peer = tcp_pair()
  return assert(ssl.wrap(client, config("client", near))), assert(ssl.wrap(peer, config("server", far)))
end

local function pair(near, far)
  local a, b = wrapped(near, far)
  local served = asyncio.create_task(b.dohandshake, b)
  t.assertEquals({ a:dohandshake() }, { true })
  t.assertTrue(asyncio.await(served))
  return a, b
end

TestWaiting = {}

function TestWaiting:test_calls_suspend_their_task_and_no_other()
  t.real(function()
    local a, b = pair()
    local order = {}
    local reads = asyncio.create_task(function()
      local line = a:receive()
      order[#order + 1] = line
    end)
    asyncio.sleep(0)
    order[#order + 1] = "first"
    b:send "second\n"
    asyncio.await(reads)
    t.assertEquals(order, { "first", "second" })
    a:close()
    b:close()
  end)
end

function TestWaiting:test_two_tasks_read_and_write_at_once()
  t.real(function()
    local a, b = pair()
    local text = ("0123456789abcdef"):rep(200000)
    local function echo()
      local line = assert(b:receive(#text))
      return assert(b:send(line))
    end
    local echoes = asyncio.create_task(echo)
    local sends = asyncio.create_task(a.send, a, text)
    t.assertTrue(assert(a:receive(#text)) == text)
    t.assertEquals(asyncio.await(sends), #text)
    asyncio.await(echoes)
    a:close()
    b:close()
  end)
end

function TestWaiting:test_a_second_reader_is_told_who_reads()
  t.real(function()
    local a, b = pair()
    local reads = asyncio.create_task(a.receive, a)
    reads:set_name "reader"
    asyncio.sleep(0)
    local ok, err = pcall(a.receive, a)
    t.assertFalse(ok)
    t.assertTrue(asyncio.isinstance(err, asyncio.BusyError))
    t.assertStrContains(tostring(err), "the socket is being read by task 'reader'")
    a:close()
    t.assertNil((asyncio.await(reads)))
    b:close()
  end)
end

function TestWaiting:test_who_waits_is_told_that_it_was_closed()
  t.real(function()
    local a, b = pair()
    local reads = asyncio.create_task(function() return { a:receive() } end)
    asyncio.sleep(0)
    a:close()
    t.assertEquals(asyncio.await(reads), { nil, "closed", "" })
    local c, d = wrapped()
    local shakes = asyncio.create_task(function() return { c:dohandshake() } end)
    asyncio.sleep(0)
    c:close()
    t.assertEquals(asyncio.await(shakes), { false, "closed" })
    b:close()
    d:close()
  end)
end

function TestWaiting:test_limits_end_calls_with_what_is_wanted()
  t.real(function()
    local a, b = wrapped()
    a:settimeout(0.01)
    t.assertEquals({ a:dohandshake() }, { false, "wantread" })
    local served = asyncio.create_task(b.dohandshake, b)
    a:settimeout(5)
    t.assertTrue(a:dohandshake())
    t.assertTrue(asyncio.await(served))
    b:send "1par"
    t.assertEquals(a:receive(1), "1")
    a:settimeout(0.02, "t")
    t.assertEquals({ a:receive(5) }, { nil, "wantread", "par" })
    b:settimeout(0)
    local last, err, partly
    repeat last, err, partly = b:send(("x"):rep(1000000)) until not last
    t.assertEquals(err, "wantwrite")
    t.assertTrue(partly < 1000000)
    a:close()
    b:close()
  end)
end

TestCancelling = {}

function TestCancelling:test_a_receive_that_is_cancelled_has_taken_nothing()
  t.real(function()
    local a, b = pair()
    local reads = asyncio.create_task(a.receive, a, 10)
    b:send "12345"
    asyncio.sleep(0.01)
    reads:cancel()
    asyncio.wait { reads }
    t.assertTrue(reads:cancelled())
    b:send "67890"
    t.assertEquals(a:receive(10), "1234567890")
    a:close()
    b:close()
  end)
end

function TestCancelling:test_a_handshake_that_is_cancelled_may_go_on()
  t.real(function()
    local a, b = wrapped()
    local shakes = asyncio.create_task(a.dohandshake, a)
    asyncio.sleep(0)
    shakes:cancel()
    asyncio.wait { shakes }
    local served = asyncio.create_task(b.dohandshake, b)
    t.assertTrue(a:dohandshake())
    t.assertTrue(asyncio.await(served))
    a:close()
    b:close()
  end)
end

function TestCancelling:test_a_send_that_is_cancelled_on_its_way_closes()
  t.real(function()
    local a, b = pair()
    local sends = asyncio.create_task(a.send, a, ("x"):rep(20000000))
    asyncio.sleep(0.01)
    sends:cancel()
    asyncio.wait { sends }
    t.assertEquals(a:getfd(), -1)
    t.assertEquals({ a:send "x" }, { nil, "closed", 0 })
    t.assertTrue(#assert(select(3, b:receive(30000000))) < 20000000)
    b:close()
  end)
end

TestPrograms = {}

function TestPrograms:test_an_error_of_a_function_for_alpn_leaves_dohandshake()
  t.real(function()
    local a, b = wrapped({ alpn = "h2" }, { alpn = function() error({ "mine" }, 0) end })
    local served = asyncio.create_task(function() return asyncio.pcall(b.dohandshake, b) end)
    a:settimeout(0.05)
    a:dohandshake()
    local ok, err = asyncio.await(served)
    t.assertFalse(ok)
    t.assertEquals(err, { "mine" })
    a:close()
    b:close()
  end)
end

function TestPrograms:test_a_function_for_alpn_may_close_the_connection()
  t.real(function()
    local a, b
    a, b = wrapped({ alpn = "h2" }, { alpn = function()
      b:close()
      t.collect()
      return "h2"
    end })
    local served = asyncio.create_task(function() return { b:dohandshake() } end)
    a:settimeout(0.05)
    a:dohandshake()
    t.assertEquals(asyncio.await(served), { false, "closed" })
    a:close()
  end)
end

function TestPrograms:test_the_context_of_the_name_chooses_the_protocol()
  t.real(function()
    local other = assert(ssl.newcontext(config("server", { alpn = { "inner" }, key = file "other.key",
      certificate = file "other.pem" })))
    local a, b = wrapped({ alpn = { "outer", "inner" } }, { alpn = { "outer" } })
    a:sni "www.example.org"
    b:sni({ ["www.example.org"] = other }, true)
    local served = asyncio.create_task(b.dohandshake, b)
    t.assertTrue(a:dohandshake())
    t.assertTrue(asyncio.await(served))
    t.assertEquals({ a:getalpn(), b:getalpn() }, { "inner", "inner" })
    a:close()
    b:close()
  end)
end

function TestPrograms:test_contexts_may_be_dropped_and_closed_meanwhile()
  t.real(function()
    local a, b = wrapped()
    t.collect()
    local served = asyncio.create_task(b.dohandshake, b)
    t.assertTrue(a:dohandshake())
    asyncio.await(served)
    t.collect()
    a:send "still\n"
    t.assertEquals(b:receive(), "still")
    a:close()
    b:close()
    local context <const> = assert(ssl.newcontext(config "client"))
    getmetatable(context).__close(context)
    local ok, err = pcall(ssl.wrap, socket.tcp(), context)
    t.assertFalse(ok)
    t.assertStrContains(err, "invalid context")
  end)
end

function TestPrograms:test_a_certificate_outlives_its_connection()
  t.real(function()
    local a, b = pair()
    local certificate, chain = a:getpeercertificate(), a:getpeerchain()
    a:close()
    b:close()
    a, b = nil, nil
    t.collect()
    t.assertEquals(certificate:digest(), chain[1]:digest())
    t.assertEquals(certificate:pem():match "^%-%-%-%-%-BEGIN CERTIFICATE", "-----BEGIN CERTIFICATE")
    getmetatable(certificate).__close(certificate)
    t.assertFalse((pcall(certificate.pem, certificate)))
  end)
end

function TestPrograms:test_connections_that_are_closed_say_so()
  t.real(function()
    local a, b = pair()
    local closing <close> = a
    b:close()
    a:close()
    for _, name in ipairs { "getalpn", "getfinished", "getpeerfinished", "getpeercertificate", "getpeerchain",
      "getsniname", "info" } do
      t.assertEquals({ closing[name](a) }, { nil, "closed" })
    end
    t.assertEquals({ a:sni "x" }, { nil, "closed" })
    t.assertEquals({ a:setdane "x" }, { nil, "closed" })
    t.assertEquals({ a:settlsa(3, 0, 1, "x") }, { nil, "closed" })
    t.assertEquals({ a:dohandshake() }, { false, "closed" })
    t.assertEquals({ a:receive() }, { nil, "closed", "" })
    t.assertEquals({ a:send "x" }, { nil, "closed", 0 })
    t.assertEquals({ a:getpeerverification() }, { false, "closed" })
  end)
end

function TestPrograms:test_a_handshake_that_has_failed_stays_so()
  t.real(function()
    local a, b = wrapped({ verify = "peer" })
    local served = asyncio.create_task(function() return { b:dohandshake() } end)
    t.assertEquals({ a:dohandshake() }, { false, "certificate verify failed" })
    t.assertEquals({ a:dohandshake() }, { false, "closed" })
    t.assertEquals({ a:receive() }, { nil, "closed", "" })
    a:close()
    asyncio.await(served)
    b:close()
  end)
end

function TestPrograms:test_files_that_are_not_there_have_the_system_s_words()
  for field, words in pairs { key = "private key", certificate = "certificate", cafile = "CA locations" } do
    local ok, err = ssl.newcontext(config("client", { [field] = "/nowhere/at.all" }))
    t.assertNil(ok)
    t.assertEquals(err, ("error loading %s (No such file or directory)"):format(words))
  end
  t.assertEquals({ ssl.newcontext(config("client", { ciphers = "rubbish" })) },
    { nil, "error setting cipher list (no cipher match)" })
  t.assertEquals({ ssl.newcontext { mode = "both", protocol = "any" } }, { nil, "invalid mode (both)" })
end

function TestPrograms:test_parameters_for_dh_are_asked_for_once()
  t.real(function()
    local asked = {}
    local pem = program.shell "openssl genpkey -genparam -algorithm DH -pkeyopt group:ffdhe2048 2>&1"
    local far = { protocol = "tlsv1_2", key = file "rsa.key", certificate = file "rsa.pem", dhparam = function(...)
      asked[#asked + 1] = { ... }
      return pem
    end }
    local context = assert(ssl.newcontext(config("server", far)))
    for _ = 1, 2 do
      local client, peer = tcp_pair()
      local near = config("client", { ciphers = "DHE-RSA-AES128-GCM-SHA256", protocol = "tlsv1_2" })
      local a = assert(ssl.wrap(client, near))
      local b = assert(ssl.wrap(peer, context))
      local served = asyncio.create_task(b.dohandshake, b)
      t.assertTrue(a:dohandshake())
      t.assertTrue(asyncio.await(served))
      t.assertEquals(a:info "cipher", "DHE-RSA-AES128-GCM-SHA256")
      a:close()
      b:close()
    end
    t.assertEquals(asked, { { false, 1024 } })
    t.assertNotNil(ssl.newcontext(config("server", { dhparam = function() return "rubbish" end })))
  end)
end

function TestPrograms:test_modules_get_the_parts_in_C()
  local require = asyncio.compat.require
  t.assertTrue(require "ssl" == ssl)
  t.assertTrue(require "ssl.config" == ssl.config)
  t.assertTrue(require "ssl.x509".load == ssl.loadcertificate)
  t.assertEquals(require "ssl.core".SOCKET_INVALID, -1)
  t.assertNotNil(require "ssl.context".create "any")
end

function TestPrograms:test_wrong_names_for_sni_change_nothing()
  t.real(function()
    local a, b = wrapped()
    for _, names in ipairs { { 5 }, { x = 5 }, { x = "y" } } do
      local ok, err = pcall(b.sni, b, names)
      t.assertFalse(ok)
      t.assertStrContains(err, "contexts by name expected")
    end
    local served = asyncio.create_task(b.dohandshake, b)
    a:sni "x"
    t.assertTrue(a:dohandshake())
    asyncio.await(served)
    a:close()
    b:close()
  end)
end

TestLacking = {}

function TestLacking:test_without_OpenSSL_it_says_what_to_install()
  local script = program.file_with [[
    package.preload["asyncio.openssl"] = function() error("no such library", 0) end
    local asyncio = require "asyncio"
    local ok, err = pcall(asyncio.compat.require, "ssl")
    print(ok, err)
  ]]
  local out = program.shell("%s '%s' 2>&1", program.checked_lua, script)
  os.remove(script)
  t.assertStrContains(out, "TLS needs the module asyncio.openssl, which cannot be loaded")
  t.assertStrContains(out, "install the rock lua-asyncio-ssl")
end

t.finish()
