-- client_certificate_spec.lua - servers that ask their clients who they are.
local t = require "helper"
local secure = require "secure"

local asyncio, certificates = t.asyncio, secure.certificates

local function server_context(mode, opts)
  return secure.server_context(secure.joined({ verify_mode = mode, cafile = certificates.file "root.pem" }, opts))
end

local function client_context(name, version)
  local context = secure.client_context { minimum_version = version, maximum_version = version }
  if name then context:load_cert_chain(certificates[name].certfile, certificates[name].keyfile) end
  return context
end

--- fn(near writer, far writer, near reader, far reader) after a handshake with both errors before it.
local function meet(mode, name, version, fn)
  t.run(function()
    local reader, writer <close>, peer_reader, peer_writer = asyncio.stream_pair()
    local _ <close> = peer_writer
    local failed, refused = secure.shake(writer, peer_writer, client_context(name, version), server_context(mode))
    fn(failed, refused, writer, peer_writer, reader, peer_reader)
    writer:abort()
    peer_writer:abort()
  end)
end

TestClient = {}

for _, version in ipairs(secure.VERSIONS) do
  TestClient["test_is_known_by_its_certificate_" .. version] = function()
    for _, mode in ipairs { "required", "optional" } do
      meet(mode, "client", version, function(failed, refused, _, peer_writer)
        t.assertNil(failed and tostring(failed))
        t.assertNil(refused and tostring(refused))
        local certificate = peer_writer:get_extra_info "peercert"
        t.assertEquals(certificate.subject.CN, "Ada Lovelace")
        t.assertEquals(certificate.verified, true)
        t.assertEquals({ certificate.san[1].type, certificate.san[1].value }, { "email", "ada@example.org" })
      end)
    end
  end

  TestClient["test_needs_none_where_it_is_optional_or_not_asked_for_" .. version] = function()
    for _, mode in ipairs { "optional", "none" } do
      meet(mode, nil, version, function(failed, refused, _, peer_writer)
        t.assertNil(failed and tostring(failed))
        t.assertNil(refused and tostring(refused))
        t.assertNil(peer_writer:get_extra_info "peercert")
      end)
    end
  end

  TestClient["test_is_refused_without_one_where_it_must_have_one_" .. version] = function()
    meet("required", nil, version, function(_, refused)
      t.assertEquals(t.assert_isinstance(refused, asyncio.SSLError).reason, "PEER_DID_NOT_RETURN_A_CERTIFICATE")
    end)
  end

  TestClient["test_of_a_stranger_is_refused_where_it_is_optional_too_" .. version] = function()
    for _, mode in ipairs { "required", "optional" } do
      meet(mode, "stray", version, function(_, refused)
        t.assertEquals(t.assert_isinstance(refused, asyncio.SSLCertVerificationError).verify_code, 20)
      end)
    end
  end

  TestClient["test_with_a_servers_certificate_is_refused_" .. version] = function()
    meet("required", "server", version, function(_, refused)
      t.assertEquals(t.assert_isinstance(refused, asyncio.SSLCertVerificationError).verify_code, 26)
    end)
  end
end

TestRefusal = {}

function TestRefusal:test_is_heard_in_the_handshake_with_tls_1_2()
  meet("required", nil, "TLSv1.2", function(failed)
    t.assertEquals(t.assert_isinstance(failed, asyncio.SSLError).reason, "SSLV3_ALERT_HANDSHAKE_FAILURE")
  end)
end

function TestRefusal:test_is_heard_at_the_first_read_with_tls_1_3_or_before()
  meet("required", nil, "TLSv1.3", function(failed, _, _, _, reader)
    local err = failed or t.error_of(reader.read, reader, 1)
    t.assert_isinstance(err, asyncio.SSLError)
    t.assertEquals(err.reason, "TLSV13_ALERT_CERTIFICATE_REQUIRED")
    t.assertStrMatches(err.message, ".*certificate.*")
  end)
end

t.finish()
