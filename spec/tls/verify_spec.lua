-- verify_spec.lua - whom a client believes: each kind of bad certificate, and the sentence that a person sees.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio, ssl, certificates = t.asyncio, secure.ssl, secure.certificates

--- What a handshake with that certificate comes to for a client: nil, or its error; and what the server is told.
local function meet(name, hostname, context)
  local failed, refused
  t.run(function()
    local _, near <close>, _, far = asyncio.stream_pair()
    local _ <close> = far
    failed, refused = secure.shake(near, far, context, secure.server_context(nil, name), { server_hostname = hostname })
    near:abort()
    far:abort()
  end)
  return failed, refused
end

local function assert_believed(...)
  local failed = meet(...)
  t.assertNil(failed and tostring(failed))
end

--- It is refused with that code of OpenSSL's, in words that have `pattern`.
local function assert_refused(code, pattern, ...)
  local err = t.assert_isinstance(meet(...), asyncio.SSLCertVerificationError)
  t.assertStrMatches(err.message, "certificate verify failed: .*" .. pattern .. ".*")
  t.assertEquals({ err.verify_code, err.reason, err.library, type(err.verify_message) },
    { code, "CERTIFICATE_VERIFY_FAILED", "SSL", "string" })
  return err
end

TestBelieved = {}

function TestBelieved:test_is_a_name_that_the_certificate_has()
  assert_believed "server"
  assert_believed("wrong_host", "www.example.org")
  assert_believed("wrong_host", "WWW.Example.ORG")
  assert_believed("wrong_host", "example.org.")
end

function TestBelieved:test_is_an_address_that_the_certificate_has_as_one()
  assert_believed("ip", "127.0.0.1")
  assert_believed("server", "::1")
end

function TestBelieved:test_is_one_label_for_a_star()
  assert_believed("wildcard", "a.b.example")
end

function TestBelieved:test_is_anybody_where_nothing_is_verified()
  local context = ssl.create_default_context { verify_mode = "none" }
  for _, name in ipairs { "self_signed", "expired", "untrusted", "wrong_host" } do
    assert_believed(name, "localhost", context)
    context = ssl.create_default_context { verify_mode = "none" }
  end
end

function TestBelieved:test_is_any_name_where_names_are_not_checked()
  assert_believed("wrong_host", "localhost", secure.client_context { check_hostname = false })
end

function TestBelieved:test_is_a_certificate_that_is_trusted_itself()
  assert_believed("self_signed", "localhost",
    ssl.create_default_context { cafile = certificates.file "self_signed.pem" })
end

function TestBelieved:test_is_an_rsa_key_of_2048_bits()
  assert_believed "rsa"
end

TestRefused = {}

function TestRefused:test_is_a_certificate_for_another_host()
  local err = assert_refused(62, "the certificate is for www%.example%.org.*, not for \"localhost\"", "wrong_host")
  t.assertEquals(err.verify_message, "hostname mismatch")
end

function TestRefused:test_is_an_address_that_stands_there_as_a_name_only()
  assert_refused(64, "not for \"127%.0%.0%.1\"", "ip_as_name", "127.0.0.1")
  assert_refused(64, "not for \"127%.0%.0%.2\"", "ip", "127.0.0.2")
end

function TestRefused:test_is_a_name_where_there_are_addresses_only()
  assert_refused(62, "127%.0%.0%.1.*, not for \"localhost\"", "ip")
end

function TestRefused:test_is_a_star_for_two_labels_or_none_or_a_part_of_one()
  assert_refused(62, "%*%.b%.example", "wildcard", "x.a.b.example")
  assert_refused(62, "%*%.b%.example", "wildcard", "b.example")
  assert_refused(62, "w%*%.b%.example", "partial", "www.b.example")
end

function TestRefused:test_is_a_common_name_in_place_of_a_real_one()
  assert_refused(62, "not for \"localhost\"", "no_san")
end

function TestRefused:test_is_what_has_expired()
  assert_refused(10, "expired", "expired")
end

function TestRefused:test_is_what_is_not_yet_valid()
  assert_refused(9, "not.* valid", "not_yet")
end

function TestRefused:test_is_what_has_signed_itself()
  assert_refused(18, "self%-signed", "self_signed")
end

function TestRefused:test_is_what_a_stranger_has_signed()
  assert_refused(20, "issuer", "untrusted")
end

function TestRefused:test_is_a_chain_with_a_gap()
  local context = secure.server_context { certfile = certificates.file "server.leaf" }
  t.run(function()
    local _, near <close>, _, far = asyncio.stream_pair()
    local _ <close> = far
    local err = t.assert_isinstance(secure.shake(near, far, nil, context), asyncio.SSLCertVerificationError)
    t.assertEquals(err.verify_code, 20)
    t.assertStrMatches(err.message, ".*issuer.*")
    near:abort()
    far:abort()
  end)
end

function TestRefused:test_is_what_an_authority_may_not_sign()
  assert_refused(47, "names that its authority may not sign for", "constrained")
end

function TestRefused:test_is_what_was_signed_by_no_authority()
  local err = t.assert_isinstance(meet "no_authority", asyncio.SSLCertVerificationError)
  t.assertTrue(err.verify_code == 79 or err.verify_code == 24, err.verify_code) -- newer OpenSSL, older
end

function TestRefused:test_is_a_root_that_the_peer_brings_itself()
  assert_refused(19, 'its authority "the stranger" is not one of those that are trusted', "strange_root")
end

function TestRefused:test_is_an_authority_deeper_than_one_above_it_allows()
  assert_refused(25, '"the shallow" may not have so many authorities below it', "too_deep", "localhost",
    secure.client_context())
end

function TestRefused:test_is_a_signature_that_nobody_has_made()
  assert_refused(7, "is forged, or damaged: its signature is wrong", "forged")
end

function TestRefused:test_is_what_must_not_be_ignored_but_is_not_known()
  assert_refused(34, "has a critical extension that is not known here", "strange")
end

function TestRefused:test_is_a_certificate_for_clients()
  assert_refused(26, "purpose", "client_only")
end

--- A server whose own certificate is too weak can't be had from OpenSSL with its defaults: with its lowest level.
local function weak(name)
  local context = ssl.SSLContext { purpose = "server" }
  context:set_ciphers "DEFAULT:@SECLEVEL=0"
  context:load_cert_chain(certificates.file(name .. ".pem"), certificates.file(name .. ".key"))
  local failed
  t.run(function()
    local _, near <close>, _, far = asyncio.stream_pair()
    local _ <close> = far
    failed = secure.shake(near, far, nil, context)
    near:abort()
    far:abort()
  end)
  return t.assert_isinstance(failed, asyncio.SSLCertVerificationError)
end

function TestRefused:test_is_a_signature_over_sha_1()
  local err = weak "sha1"
  t.assertEquals(err.verify_code, 68)
  t.assertStrMatches(err.message, ".*weak.*")
end

function TestRefused:test_is_an_rsa_key_of_1024_bits()
  local err = weak "rsa1024"
  t.assertEquals(err.verify_code, 66)
  t.assertStrMatches(err.message, ".*a key that is too short to be safe.*")
end

function TestRefused:test_is_any_server_where_the_root_is_not_known()
  assert_refused(20, "issuer", "server", "localhost",
    ssl.create_default_context { cafile = certificates.file "stranger.pem" })
end

TestRevoked = {}

local function with_list(name)
  return secure.client_context { crlfile = certificates.file(name) }
end

function TestRevoked:test_is_refused_where_a_list_says_so()
  assert_refused(23, "revoked", "revoked", "localhost", with_list "crl.pem")
  assert_believed "revoked"
end

function TestRevoked:test_others_go_on()
  assert_believed("server", "localhost", with_list "crl.pem")
end

function TestRevoked:test_a_list_that_has_expired_is_none()
  assert_refused(12, "list %(CRL%) is out of date", "server", "localhost", with_list "old_crl.pem")
end

function TestRevoked:test_a_list_of_the_future_is_none()
  assert_refused(11, "list %(CRL%) is not valid yet", "server", "localhost", with_list "new_crl.pem")
end

function TestRevoked:test_a_forged_list_is_none()
  assert_refused(8, "list %(CRL%) is forged", "server", "localhost", with_list "forged_crl.pem")
end

function TestRevoked:test_each_authority_must_have_one()
  assert_refused(3, "list %(CRL%) is not there", "server", "localhost", with_list "root.crl")
end

TestWords = {}

function TestWords:test_of_a_refusal_name_the_place()
  t.real(function()
    local server <close> = secure.serve(function() end, { ssl = secure.server_context(nil, "wrong_host") })
    local err = t.assert_raises(asyncio.SSLCertVerificationError, secure.connect, server)
    t.assertStrMatches(tostring(err), (".*certificate verify failed: the certificate is for www%%.example%%.org.*, "
      .. "not for \"localhost\": connect 127%%.0%%.0%%.1:%d.*"):format(peers.port(server)))
    t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
    t.assertTrue(asyncio.isinstance(err, asyncio.OSError))
    t.assertEquals(type(err.code), "string")
  end)
end

function TestWords:test_for_the_server_say_why_the_client_left()
  local _, refused = meet "expired"
  t.assert_isinstance(refused, asyncio.SSLError)
  t.assertEquals(refused.reason, "SSLV3_ALERT_CERTIFICATE_EXPIRED")
end

function TestWords:test_of_classes_are_the_same_in_both_modules()
  for _, name in ipairs { "SSLError", "SSLCertVerificationError", "SSLEOFError" } do
    t.assertIs(ssl[name], asyncio[name])
    t.assertTrue(asyncio.isinstance(asyncio[name] "x", asyncio.OSError))
  end
end

TestAnonymous = {}

function TestAnonymous:test_ciphers_are_given_to_nobody_whatever_list_has_them()
  t.run(function()
    local _, near <close>, _, far = asyncio.stream_pair()
    local _ <close> = far
    local opts = { ciphers = "ALL:@SECLEVEL=0", minimum_version = "TLSv1.2", maximum_version = "TLSv1.2" }
    local client = secure.client_context(opts)
    local server = ssl.SSLContext {
      purpose = "server", ciphers = opts.ciphers, maximum_version = "TLSv1.2", sni = function() end,
    }
    local failed, refused = secure.shake(near, far, client, server)
    t.assertTrue(asyncio.isinstance(failed, asyncio.SSLError))
    t.assertStrContains(refused.message, "no certificate")
  end)
end

function TestAnonymous:test_ciphers_alone_are_none()
  for _, list in ipairs { "aNULL:@SECLEVEL=0", "eNULL:@SECLEVEL=0" } do
    t.assert_raises(asyncio.SSLError, ssl.create_default_context, { ciphers = list })
  end
end

t.finish { sampled = true }
