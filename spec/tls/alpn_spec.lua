-- alpn_spec.lua - which protocol is spoken over TLS: the server's choice among the client's.
local t = require "helper"
local secure = require "secure"

local asyncio = t.asyncio

--- Both sides' protocols; both errors.
local function agree(client, server, version)
  local near, far, failed, refused
  t.run(function()
    local _, writer <close>, _, peer_writer = asyncio.stream_pair()
    local _ <close> = peer_writer
    local ours = secure.client_context { maximum_version = version }
    local theirs = secure.server_context()
    if client then ours:set_alpn_protocols(client) end
    if server then theirs:set_alpn_protocols(server) end
    failed, refused = secure.shake(writer, peer_writer, ours, theirs)
    if not failed then near = writer:get_extra_info "alpn_protocol" end
    if not refused then far = peer_writer:get_extra_info "alpn_protocol" end
    writer:abort()
    peer_writer:abort()
  end)
  return near, far, failed, refused
end

TestProtocol = {}

function TestProtocol:test_is_the_servers_first_that_the_client_has()
  for _, version in ipairs(secure.VERSIONS) do
    t.assertEquals({ agree({ "http/1.1", "h2" }, { "h2", "http/1.1" }, version) }, { "h2", "h2" })
    t.assertEquals({ agree({ "h2", "http/1.1" }, { "http/1.1" }, version) }, { "http/1.1", "http/1.1" })
  end
end

function TestProtocol:test_is_none_where_either_names_none()
  t.assertEquals({ agree(nil, { "h2" }) }, {})
  t.assertEquals({ agree({ "h2" }, nil) }, {})
end

function TestProtocol:test_that_both_speak_must_exist()
  for _, version in ipairs(secure.VERSIONS) do
    local _, _, failed, refused = agree({ "http/1.1" }, { "h2" }, version)
    t.assertEquals(t.assert_isinstance(failed, asyncio.SSLError).reason, "TLSV1_ALERT_NO_APPLICATION_PROTOCOL")
    t.assertEquals(t.assert_isinstance(refused, asyncio.SSLError).reason, "NO_APPLICATION_PROTOCOL")
  end
end

t.finish()
