-- info_spec.lua - what get_extra_info tells of an encrypted connection.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio, certificates = t.asyncio, secure.certificates

TestCertificate = {}

function TestCertificate:test_has_its_parts()
  t.run(function()
    secure.memory(function(_, writer)
      local it = writer:get_extra_info "peercert"
      t.assertEquals({ it.subject.CN, it.issuer.CN }, { "localhost", "the intermediate" })
      t.assertStrContains(tostring(it.subject), "localhost")
      t.assertStrMatches(it.serial, "%x+")
      t.assertTrue(it.not_before <= os.time() and it.not_after > os.time() + 19 * 86400)
      t.assertEquals(it.san, { { type = "DNS", value = "localhost" }, { type = "IP", value = "127.0.0.1" },
        { type = "IP", value = "::1" } })
      t.assertEquals({ it.der:byte(1), it.verified }, { 0x30, true })
    end)
  end)
end

function TestCertificate:test_is_there_when_it_was_not_verified_too()
  t.run(function()
    secure.memory(function(_, writer)
      local it = writer:get_extra_info "peercert"
      t.assertEquals({ it.subject.CN, it.verified }, { "self_signed", false })
    end, { near = secure.client_context { verify_mode = "none" }, far = secure.server_context(nil, "self_signed") })
  end)
end

function TestCertificate:test_has_names_of_each_type()
  t.run(function()
    secure.memory(function(_, writer)
      t.assertEquals(writer:get_extra_info "peercert".san, {
        { type = "DNS", value = "localhost" }, { type = "email", value = "ada@example.org" },
        { type = "URI", value = "http://example.org/" }, { type = "RID", value = "1.2.3.4" },
        { type = "dirname", value = "CN=Ada,O=Engines" }, { type = "other" },
      })
    end, { far = secure.server_context(nil, "many_names") })
  end)
end

TestConnection = {}

for _, version in ipairs(secure.VERSIONS) do
  TestConnection["test_is_described_" .. version] = function()
    t.real(function()
      secure.pair(function(_, writer, _, peer_writer)
        for _, one in ipairs { writer, peer_writer } do
          t.assertEquals(one:get_extra_info "tls_version", version)
          t.assertStrMatches(one:get_extra_info "cipher", "[A-Z0-9_-]+")
          t.assertEquals(one:get_extra_info "server_name", "localhost")
          t.assertEquals(one:get_extra_info "session_reused", false)
          t.assertEquals(asyncio.type(one:get_extra_info "ssl_context"), "SSLContext")
          t.assertNil(one:get_extra_info "alpn_protocol")
          t.assertEquals(one:get_extra_info("alpn_protocol", "none"), "none")
          t.assertEquals(one:get_extra_info "peername".host, "127.0.0.1")
        end
        t.assertEquals(writer:get_extra_info "cipher", peer_writer:get_extra_info "cipher")
      end, { version = version })
    end)
  end
end

function TestConnection:test_that_has_ended_is_known_still()
  for _, version in ipairs(secure.VERSIONS) do
    t.real(function()
      secure.pair(function(_, writer)
        local function known()
          local all = { writer:can_write_eof(), tostring(writer:get_extra_info "peercert".subject) }
          for _, name in ipairs { "cipher", "tls_version", "server_name", "session_reused", "ssl_context" } do
            all[#all + 1] = writer:get_extra_info(name)
          end
          all[#all + 1] = writer:get_extra_info "peercert".verified
          return all
        end
        local before = known()
        writer:close()
        writer:wait_closed()
        t.assertEquals(known(), before)
        t.assertEquals(writer:get_extra_info "peercert".der, writer:get_extra_info "peercert".der)
      end, { version = version })
    end)
  end
end

function TestConnection:test_in_plain_has_none_of_it()
  t.real(function()
    peers.pair(function(_, writer)
      for _, name in ipairs { "peercert", "cipher", "tls_version", "server_name", "session_reused", "ssl_context" } do
        t.assertNil(writer:get_extra_info(name))
      end
    end)
  end)
end

function TestConnection:test_to_an_address_asks_for_no_name()
  t.real(function()
    local names = asyncio.Queue()
    local server <close> = secure.serve(function(_, writer) names:put(writer:get_extra_info("server_name", "none")) end)
    local _, writer <close> = asyncio.open_connection("127.0.0.1", peers.port(server),
      { ssl = secure.client_context() })
    t.assertEquals(names:get(), "none")
    t.assertNotNil(writer)
  end)
end

function TestConnection:test_with_ssl_true_trusts_the_system()
  t.real(function()
    local server <close> = secure.serve(function() end)
    local err = t.assert_raises(asyncio.SSLCertVerificationError, asyncio.open_connection, "127.0.0.1",
      peers.port(server), { ssl = true })
    t.assertTrue(err.verify_code == 19 or err.verify_code == 20)
  end)
  local output = peers.run_in_shell([[
    local asyncio, ssl = require "asyncio", require "asyncio.ssl"
    asyncio.run(function()
      local server <close> = asyncio.start_server(function(_, writer) writer:send "trusted" end, "127.0.0.1", 0,
        { ssl = ssl.create_server_context { certfile = os.getenv "CERT", keyfile = os.getenv "KEY" } })
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port, { ssl = true })
      print(reader:read(100))
    end)]], ("SSL_CERT_FILE=%s CERT=%s KEY=%s %%s 2>&1"):format(certificates.file "root.pem",
      certificates.server.certfile, certificates.server.keyfile))
  t.assertEquals(t.unhurried(output), "trusted\n")
end

TestServer = {}

function TestServer:test_counts_its_handshakes()
  t.real(function()
    local served = asyncio.Event()
    local server <close> = secure.serve(function(reader)
      served:set()
      reader:read()
    end)
    t.assertEquals({ server:stats().handshakes, server:stats().handshakes_failed }, { 0, 0 })
    local _, writer <close> = secure.connect(server)
    served:wait()
    t.assertEquals(server:stats().connections, 1)
    t.assertEquals({ server:stats().handshakes, server:stats().handshakes_failed }, { 0, 0 })
    t.assertNotNil(writer)
  end)
end

t.finish()
