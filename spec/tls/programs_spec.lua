-- slow
-- programs_spec.lua - other people's programs at the other end: openssl, curl, Python's ssl, nginx; TLS 1.2 and 1.3.
local t = require "helper"
local nginx = require "nginx"
local peers = require "peers"
local program = require "program"
local secure = require "secure"

local asyncio, certificates = t.asyncio, secure.certificates

local FLAG = { ["TLSv1.2"] = "-tls1_2", ["TLSv1.3"] = "-tls1_3" }
local ROOT = certificates.file "root.pem"

local function each_version(class, name, fn)
  for _, version in ipairs(secure.VERSIONS) do
    class[("test_%s_%s"):format(name, version)] = function() fn(version) end
  end
end

local function only(version) return { minimum_version = version, maximum_version = version } end

--- An echo of lines that says the version first.
local function serve_lines(context)
  return secure.serve(function(reader, writer)
    writer:send(writer:get_extra_info "tls_version", "\n")
    for line in reader:lines() do writer:send("you said ", line, "\n") end
  end, { ssl = context or secure.server_context() })
end

--- Answers one request of HTTP with what was asked for.
local function serve_http(context)
  return secure.serve(function(reader, writer)
    local request = reader:readuntil "\r\n\r\n"
    local path = request:match "^GET (%S+) HTTP/1%.[01]\r\n"
    local body = path == "/large" and ("0123456789"):rep(100000) or ("you asked for %s over %s"):format(path,
      writer:get_extra_info "tls_version")
    writer:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"):format(#body), body)
  end, { ssl = context or secure.server_context() })
end

TestOpenssl = {}

each_version(TestOpenssl, "client_talks_to_our_server", function(version)
  peers.need "openssl"
  t.real(function()
    local server <close> = serve_lines()
    local ended = peers.background(("(echo hello; until grep -q hello $0.said; do sleep 0.01; done) 2>/dev/null | "
      .. "openssl s_client -connect 127.0.0.1:%d %s -quiet -no_ign_eof -verify_return_error -verify_hostname localhost "
      .. "-servername localhost -CAfile %s 2>/dev/null >$0.said; code=$?; cat $0.said; rm $0.said; exit $code"):format(
        peers.port(server), FLAG[version], ROOT))
    t.assertEquals({ ended() }, { version .. "\nyou said hello\n", "", 0 })
  end)
end)

each_version(TestOpenssl, "server_talks_to_our_client", function(version)
  peers.need "openssl"
  t.real(function()
    local server <close> = program.start("openssl s_server -accept 127.0.0.1:0 %s -cert_chain %s -cert %s -key %s -rev",
      FLAG[version], certificates.server.certfile, certificates.server.certfile, certificates.server.keyfile)
    local port = server:expect "ACCEPT 127%.0%.0%.1:(%d+)"
    for _ = 1, 2 do
      local reader, writer <close> = secure.connect(tonumber(port))
      writer:send "stressed\n"
      t.assertEquals(reader:readline(), "desserts\n")
      t.assertEquals(writer:get_extra_info "tls_version", version)
      writer:write "CLOSE\n" -- which it takes as the end
    end
  end)
end)

function TestOpenssl:test_client_with_a_certificate_is_known_to_our_server()
  peers.need "openssl"
  t.real(function()
    local context = secure.server_context { verify_mode = "required", cafile = ROOT }
    local server <close> = secure.serve(function(_, writer)
      writer:send("hello ", writer:get_extra_info "peercert".subject.CN, "\n")
    end, { ssl = context })
    local ended = peers.background(("openssl s_client -connect 127.0.0.1:%d -quiet -cert %s -cert_chain %s -key %s "
      .. "-CAfile %s 2>/dev/null"):format(peers.port(server), certificates.client.certfile,
        certificates.client.certfile, certificates.client.keyfile, ROOT))
    t.assertEquals((ended()), "hello Ada Lovelace\n")
  end)
end

function TestOpenssl:test_client_that_wants_another_handshake_is_refused_in_words()
  peers.need "openssl"
  t.real(function()
    local failed = asyncio.get_running_loop():create_future()
    peers.with_signal(function(heard, until_heard)
      local server <close> = secure.serve(function(reader, writer)
        writer:send(reader:readline())
        io.open(heard, "w"):close()
        failed:set_result(select(2, pcall(reader.readline, reader)))
        os.remove(heard)
      end)
      local ended = peers.background(("(echo hello; %s; echo R; while [ -e %s ]; do sleep 0.01; done) | "
        .. "openssl s_client -connect 127.0.0.1:%d -tls1_2 2>/dev/null"):format(until_heard, heard, peers.port(server)))
      t.assertStrContains(asyncio.await(failed).message, "it wanted to shake hands anew (renegotiation)")
      ended()
    end)
  end)
end

TestCurl = {}

each_version(TestCurl, "asks_our_server", function(version)
  peers.need "curl"
  t.real(function()
    local server <close> = serve_http()
    local ended = peers.background(("curl -sS --http1.1 --tlsv%s --tls-max %s --cacert %s "
      .. "--resolve localhost:%d:127.0.0.1 https://localhost:%d/x"):format(version:match "[%d.]+$",
        version:match "[%d.]+$", ROOT, peers.port(server), peers.port(server)))
    t.assertEquals({ ended() }, { "you asked for /x over " .. version, "", 0 })
  end)
end)

function TestCurl:test_gets_a_megabyte_and_believes_no_other_root()
  peers.need "curl"
  t.real(function()
    local server <close> = serve_http()
    local ended = peers.background(("curl -sS --cacert %s https://127.0.0.1:%d/large | wc -c"):format(ROOT,
      peers.port(server)))
    t.assertEquals({ tonumber((ended())) }, { 1000000 })
    ended = peers.background(("curl -sS --cacert %s https://127.0.0.1:%d/large"):format(
      certificates.file "stranger.pem", peers.port(server)))
    t.assertEquals(select(3, ended()), 60)
  end)
end

TestPython = {}

local PYTHON_CLIENT = [[
import socket, ssl, sys
port, root, version, cert, key = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
context.load_cert_chain(cert, key)
context.set_alpn_protocols(["echo"])
with socket.create_connection(("127.0.0.1", int(port))) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as s:
        print(s.version(), s.selected_alpn_protocol(), s.getpeercert()["subject"][0][0][1])
        data = b"0123456789" * 30000
        s.sendall(data)
        got = b""
        while len(got) < len(data):
            got += s.recv(65536)
        print(got == data)
        s.unwrap()
        print("ended in good order")
]]

local PYTHON_SERVER = [[
import socket, ssl, sys
root, version, cert, key = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=root)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
context.load_cert_chain(cert, key)
context.verify_mode = ssl.CERT_REQUIRED
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("port", listener.getsockname()[1], flush=True)
    plain, _ = listener.accept()
    with context.wrap_socket(plain, server_side=True) as s:
        print("met", s.getpeercert()["subject"][0][0][1], flush=True)
        while data := s.recv(65536):
            s.sendall(data)
        s.unwrap()
    print("ended in good order", flush=True)
]]

local PYTHON_NAMES = { ["TLSv1.2"] = "TLSv1_2", ["TLSv1.3"] = "TLSv1_3" }

each_version(TestPython, "client_talks_to_our_server", function(version)
  program.needs_python()
  t.real(function()
    local context = secure.server_context { verify_mode = "required", cafile = ROOT }
    context:set_alpn_protocols { "echo" }
    local server <close> = secure.serve(function(reader, writer) asyncio.copy(reader, writer) end, { ssl = context })
    local script <close> = peers.file(PYTHON_CLIENT)
    local ended = peers.background(("python3 %s %d %s %s %s %s"):format(script.name, peers.port(server), ROOT,
      PYTHON_NAMES[version], certificates.client.certfile, certificates.client.keyfile))
    t.assertEquals({ ended() }, { version .. " echo localhost\nTrue\nended in good order\n", "", 0 })
  end)
end)

each_version(TestPython, "server_talks_to_our_client", function(version)
  program.needs_python()
  t.real(function()
    local script <close> = peers.file(PYTHON_SERVER)
    local server <close> = program.start("python3 %s %s %s %s %s", script.name, ROOT, PYTHON_NAMES[version],
      certificates.server.certfile, certificates.server.keyfile)
    local context = secure.client_context(only(version))
    context:load_cert_chain(certificates.client.certfile, certificates.client.keyfile)
    local reader, writer <close> = secure.connect(tonumber(server:expect "port (%d+)\n"), { ssl = context })
    local text = peers.text(300000)
    local send = asyncio.create_task(writer.send, writer, text)
    t.assertTrue(reader:readexactly(#text) == text)
    asyncio.await(send)
    t.assertEquals(server:expect "met (%a+ %a+)\n", "Ada Lovelace")
    writer:close()
    server:expect "ended in good order"
  end)
end)

TestNginx = {}

each_version(TestNginx, "answers_our_client", function(version)
  t.real(function()
    nginx.serve(([[
      listen 127.0.0.1:PORT ssl reuseport; ssl_certificate %s; ssl_certificate_key %s; ssl_protocols %s;
      location / { return 200 "hello over $ssl_protocol, session reused: $ssl_session_reused\n"; }
    ]]):format(certificates.server.certfile, certificates.server.keyfile, version), function(port)
      local context = secure.client_context()
      for i = 1, 2 do
        local reader, writer <close> = secure.connect(port, { ssl = context })
        writer:send "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        local answer = reader:read(-1)
        t.assertStrContains(answer, ("hello over %s, session reused: %s"):format(version, i == 2 and "r" or "."))
      end
    end)
  end)
end)

--- As a client: it fetches what it is asked for from our server, whose certificate it checks.
each_version(TestNginx, "asks_our_server", function(version)
  t.real(function()
    local upstream <close> = serve_http()
    nginx.serve(([[
      listen 127.0.0.1:PORT reuseport;
      location / {
        proxy_pass https://127.0.0.1:%d; proxy_ssl_protocols %s; proxy_ssl_verify on; proxy_ssl_verify_depth 3;
        proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_trusted_certificate %s;
      }
    ]]):format(peers.port(upstream), version, ROOT), function(port)
      for i = 1, 2 do
        local reader, writer <close> = asyncio.open_connection("127.0.0.1", port)
        writer:send(("GET %s HTTP/1.0\r\n\r\n"):format(i == 1 and "/x" or "/large"))
        local answer = reader:read(-1)
        if i == 1 then t.assertStrContains(answer, "you asked for /x over " .. version) end
        if i == 2 then t.assertEquals(#answer:match "\r\n\r\n(.*)", 1000000) end
      end
    end)
  end)
end)

TestScan = {}

function TestScan:test_finds_nothing_weak_with_the_defaults()
  peers.need "sslscan"
  t.real(function()
    for _, key in ipairs { "rsa", "server" } do
      local server <close> = serve_lines(secure.server_context(nil, key))
      local ended = peers.background(("sslscan --no-colour 127.0.0.1:%d"):format(peers.port(server)))
      local output = ended()
      for version, word in pairs { SSLv2 = "disabled", SSLv3 = "disabled", ["TLSv1%.0"] = "disabled",
        ["TLSv1%.1"] = "disabled", ["TLSv1%.2"] = "enabled", ["TLSv1%.3"] = "enabled" } do
        t.assertStrMatches(output, (".*\n%s%%s+%s\n.*"):format(version, word))
      end
      t.assertNotStrContains(output:gsub("not vulnerable", ""), "vulnerable")
      t.assertStrContains(output, "TLSv1.2 not vulnerable to heartbleed")
      t.assertNotStrContains(output, "Compression enabled")
      t.assertStrMatches(output, ".*Session renegotiation not supported.*")
      local ciphers = 0
      for version, bits, cipher in output:gmatch "\n%u%l+%s+(TLSv1%.%d)%s+(%d+) bits%s+(%S+)" do
        ciphers = ciphers + 1
        t.assertTrue(tonumber(bits) >= 128, cipher)
        t.assertNotNil(cipher:find "GCM" or cipher:find "CHACHA20", cipher)
        t.assertTrue(version == "TLSv1.3" or cipher:find "^ECDHE%-" ~= nil, cipher)
      end
      t.assertTrue(ciphers >= 6, output)
    end
  end)
end

t.leave_out(TestScan, "valgrind") -- it gives up on who is so slow

t.finish { sampled = true }
