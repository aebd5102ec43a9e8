-- reload_spec.lua - server:set_ssl_context: another certificate while it serves.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio = t.asyncio

--- Whom the server at the other end says that it is.
local function subject(writer) return writer:get_extra_info "peercert".subject.CN end

local function echo(reader, writer)
  for line in reader:lines() do writer:send(line, "\n") end
end

TestReload = {}

function TestReload:test_is_for_new_connections_and_old_ones_go_on()
  t.real(function()
    local server <close> = secure.serve(echo)
    local reader, writer <close> = secure.connect(server)
    server:set_ssl_context(secure.server_context(nil, "other"))
    local _, newer <close> = secure.connect(server)
    t.assertEquals({ subject(writer), subject(newer) }, { "localhost", "other" })
    writer:send "still here\n"
    t.assertEquals(reader:readline(), "still here\n")
  end)
end

function TestReload:test_is_for_names_too()
  t.real(function()
    local function context(name)
      return secure.server_context { sni = { localhost = secure.server_context(nil, name) } }
    end
    local server <close> = secure.serve(echo, { ssl = context "server" })
    local _, first <close> = secure.connect(server)
    server:set_ssl_context(context "other")
    local _, second <close> = secure.connect(server)
    t.assertEquals({ subject(first), subject(second) }, { "localhost", "other" })
  end)
end

function TestReload:test_leaves_a_handshake_that_is_under_way_its_own()
  t.real(function()
    local server <close> = secure.serve(echo)
    local _, writer <close> = peers.connect(server)
    t.wait_until(function() return server:stats().handshakes == 1 end)
    server:set_ssl_context(secure.server_context(nil, "other"))
    writer:start_tls(secure.client_context(), { server_hostname = "localhost" })
    t.assertEquals(subject(writer), "localhost")
  end)
end

function TestReload:test_with_what_cannot_serve_changes_nothing()
  t.real(function()
    local server <close> = secure.serve(echo)
    local bad = { nil, 5, secure.client_context(), secure.ssl.SSLContext { purpose = "server" } }
    for i = 1, 4 do t.assertErrorMsgContains("set_ssl_context", server.set_ssl_context, server, bad[i]) end
    local _, writer <close> = secure.connect(server)
    t.assertEquals(subject(writer), "localhost")
  end)
end

function TestReload:test_is_for_servers_of_tls_that_are_open()
  t.real(function()
    local plain <close> = peers.serve(echo)
    t.assertErrorMsgContains("TLS", plain.set_ssl_context, plain, secure.server_context())
    local server <close> = secure.serve(echo)
    server:close()
    t.assert_raises(asyncio.ClosedError, server.set_ssl_context, server, secure.server_context())
  end)
end

t.finish()
