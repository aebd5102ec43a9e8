-- context_spec.lua - asyncio.ssl's contexts: how they are made, what they refuse, when they are fixed.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio, ssl, certificates = t.asyncio, secure.ssl, secure.certificates

local function assert_ssl_error(pattern, fn, ...)
  local err = t.assert_raises(asyncio.SSLError, fn, ...)
  t.assertStrContains(err.message, pattern)
  return err
end

TestConstructors = {}

function TestConstructors:test_say_what_they_made()
  t.assertEquals(asyncio.type(ssl.create_default_context()), "SSLContext")
  t.assertStrContains(tostring(secure.server_context()), "SSLContext")
end

function TestConstructors:test_take_names_of_files_and_pem_texts()
  ssl.create_server_context { certfile = certificates.text "server.pem", keyfile = certificates.text "server.key" }
  ssl.create_server_context { certfile = certificates.file "both.pem" }
  ssl.create_default_context { cadata = certificates.text "root.pem" }
  local context = ssl.SSLContext { purpose = "server" }
  context:load_cert_chain(certificates.file "server.pem", certificates.file "server.key")
  context:load_verify_locations { cafile = certificates.file "root.pem" }
  context:set_alpn_protocols { "h2", "http/1.1" }
  context:set_ciphers "ECDHE+AESGCM"
  context:set_ciphersuites "TLS_AES_128_GCM_SHA256"
end

function TestConstructors:test_take_the_same_options_all_three()
  local all = { cafile = certificates.file "root.pem", verify_mode = "required", minimum_version = "TLSv1.2",
    maximum_version = "TLSv1.3", num_tickets = 1, crlfile = certificates.file "crl.pem", ignore_unexpected_eof = true,
    ciphers = nil, certfile = certificates.file "server.pem", keyfile = certificates.file "server.key" }
  ssl.create_default_context(all)
  ssl.create_server_context(all)
  ssl.SSLContext(secure.joined({ purpose = "client" }, all))
end

function TestConstructors:test_of_a_bare_context_need_its_purpose()
  t.assertErrorMsgContains("purpose", ssl.SSLContext, {})
  t.assertErrorMsgContains("purpose", ssl.SSLContext, { purpose = "both" })
end

function TestConstructors:test_name_the_option_that_is_unknown_and_its_nearest()
  t.assertErrorMsgContains("certfile", ssl.create_server_context, { cert_file = "x" })
end

function TestConstructors:test_know_what_others_call_their_options()
  for theirs, ours in pairs { ca = "cafile", cert = "certfile", key = "keyfile", verify = "verify_mode",
    alpn = "alpn_protocols", passphrase = "password", protocol = "minimum_version" } do
    t.assertErrorMsgContains(("unknown option '%s', did you mean '%s'?"):format(theirs, ours),
      ssl.create_server_context, { [theirs] = false })
  end
  t.assertErrorMsgContains("open_connection", ssl.create_default_context, { servername = "localhost" })
end

function TestConstructors:test_refuse_names_to_check_without_certificates_to_check_them_in()
  t.assertErrorMsgContains("check_hostname", ssl.create_default_context,
    { verify_mode = "none", check_hostname = true })
  ssl.create_default_context { verify_mode = "none" }
end

function TestConstructors:test_refuse_versions_that_they_dont_know()
  t.assertErrorMsgContains("minimum_version", ssl.create_default_context, { minimum_version = "TLSv1.4" })
  t.assertErrorMsgContains("verify_mode", ssl.create_default_context, { verify_mode = "always" })
end

TestCertificate = {}

function TestCertificate:test_whose_key_is_anothers_is_refused_at_once()
  local err = assert_ssl_error("key", ssl.create_server_context,
    { certfile = certificates.file "server.pem", keyfile = certificates.file "other.key" })
  t.assertEquals({ err.reason, err.library }, { "KEY_VALUES_MISMATCH", "X509" })
end

function TestCertificate:test_whose_file_is_missing_is_named()
  for _, key in ipairs { "certfile", "cafile", "capath", "crlfile", "keylog_filename" } do
    local err = t.assert_raises(asyncio.FileNotFoundError, ssl.create_server_context, { [key] = "/nowhere/a.pem" })
    t.assertEquals(err.code, "ENOENT")
    t.assertStrContains(err.message, "/nowhere/a.pem: No such file or directory")
    err = select(2, pcall(ssl.create_default_context, { cafile = "0\u{e9}t\u{e9}.pem" }))
    t.assertStrContains(err.message, "0\u{e9}t\u{e9}.pem: No such file or directory")
  end
end

function TestCertificate:test_whose_key_came_in_the_place_of_a_path_does_not_show_it()
  local pem = peers.content(certificates.file "server.key")
  local base64 = pem:gsub("%-%-%-%-%-[^\n]*\n", ""):gsub("\n", ""):sub(1, 184)
  for _, key in ipairs { base64, ("30"):rep(60), "--BEGIN EC PRIVATE KEY--" .. base64 } do
    local err = t.assert_raises(asyncio.OSError, ssl.create_server_context,
      { certfile = certificates.file "server.pem", keyfile = key })
    t.assertNotStrContains(err.message, key:sub(1, 30))
  end
end

function TestCertificate:test_has_a_path_that_is_not_empty()
  for _, key in ipairs { "certfile", "cafile", "capath", "crlfile", "keylog_filename" } do
    t.assertErrorMsgContains(("'%s': a path"):format(key), ssl.create_server_context, { [key] = "" })
  end
end

function TestCertificate:test_without_a_key_anywhere_says_where_it_may_be()
  local err = assert_ssl_error("no private key in it, and no other file", ssl.create_server_context,
    { certfile = certificates.file "server.pem" })
  t.assertEquals({ err.reason, err.library }, { "NO_START_LINE", "PEM" })
  err = assert_ssl_error("no private key", ssl.create_server_context,
    { certfile = certificates.file "server.pem", keyfile = certificates.file "server.pem" })
  t.assertNotStrContains(err.message, "no other file")
end

function TestCertificate:test_of_an_authority_is_a_path_or_text_each_in_its_place()
  local text = certificates.text "root.pem"
  t.assertErrorMsgContains("that is for 'cadata'", ssl.create_default_context, { cafile = text })
  t.assertErrorMsgContains("that is for 'cadata'", ssl.create_default_context, { capath = text })
  t.assertErrorMsgContains("a path is for 'cafile'", ssl.create_default_context,
    { cadata = certificates.file "root.pem" })
  local context = ssl.SSLContext { purpose = "client" }
  t.assertErrorMsgContains("'load_verify_locations' ('cafile'", context.load_verify_locations, context,
    { cafile = text })
end

function TestCertificate:test_that_is_none_is_named()
  local name = certificates.file "garbage.pem"
  assert_ssl_error(name, ssl.create_server_context, { certfile = name })
  assert_ssl_error(name, ssl.create_default_context, { cafile = name })
  assert_ssl_error("", ssl.create_default_context, { cadata = certificates.text "garbage.pem" })
end

function TestCertificate:test_that_cannot_be_opened_is_of_the_class_of_the_reason()
  local function refused(name)
    return t.assert_raises(asyncio.OSError, ssl.create_default_context, { cafile = name })
  end
  local root, link = certificates.file "root.pem", os.tmpname()
  os.remove(link)
  os.execute(("ln -s '%s' '%s'"):format(link, link))
  t.assertEquals(refused(certificates.file ".").code, "EISDIR")
  t.assertEquals(refused(root .. "/root.pem").code, "ENOTDIR")
  t.assertEquals(refused(link).code, "ELOOP")
  t.assertEquals(refused("/" .. ("n"):rep(300)).code, "ENAMETOOLONG")
  os.remove(link)
end

function TestCertificate:test_without_a_descriptor_for_it_says_so()
  local out = t.lua(([[
    local ssl = require "asyncio.ssl"
    ssl.create_default_context() -- all has been loaded
    local files = {}
    repeat
      local file = io.open "/dev/null"
      files[#files + 1] = file
    until not file
    print(select(2, pcall(ssl.create_default_context, { cafile = %q })).code)
  ]]):format(certificates.file "root.pem"))
  t.assertEquals(out, "EMFILE\n")
end

function TestCertificate:test_of_a_chain_whose_second_is_damaged_is_refused()
  local text = certificates.text "server.pem"
  local second = text:find("BEGIN CERTIFICATE", text:find "END CERTIFICATE" or 1, true)
  local broken = text:sub(1, second + 40) .. "####" .. text:sub(second + 45)
  local err = t.assert_raises(asyncio.SSLError, ssl.create_server_context,
    { certfile = broken, keyfile = certificates.text "server.key" })
  t.assertStrContains(err.message, "certificate: ")
  t.assertEquals(err.library, "PEM")
end

function TestCertificate:test_of_authorities_may_be_der_one_behind_the_other()
  local other = certificates.text "other.der"
  ssl.create_default_context { cadata = other .. other }
  assert_ssl_error("authorities: ", ssl.create_default_context, { cadata = other .. other:sub(1, 100) })
end

function TestCertificate:test_of_authorities_may_lie_in_a_folder()
  ssl.create_default_context { capath = certificates.file "." }
end

function TestCertificate:test_that_is_no_list_of_revoked_ones_is_refused()
  assert_ssl_error("there is no list of revoked certificates (CRL) in it", ssl.create_default_context,
    { crlfile = certificates.file "garbage.pem" })
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(certificates.text "root.crl", "-----BEGIN X509 CRL-----\n####\n-----END X509 CRL-----\n")
  file:close()
  assert_ssl_error(name, ssl.create_default_context, { crlfile = name })
  os.remove(name)
end

TestPassword = {}

local function locked(password)
  return { certfile = certificates.file "server.pem", keyfile = certificates.file "locked.key", password = password }
end

function TestPassword:test_opens_a_key()
  ssl.create_server_context(locked "sesame")
end

function TestPassword:test_that_is_wrong_or_missing_is_an_error_that_does_not_say_it()
  local err = assert_ssl_error("password", ssl.create_server_context, locked "open please")
  t.assertNotStrContains(tostring(err), "open please")
  assert_ssl_error("password", ssl.create_server_context, locked(nil))
end

function TestPassword:test_is_never_asked_for_at_a_terminal()
  local output, _, status = t.lua(([[
    local ssl = require "asyncio.ssl"
    print(pcall(ssl.create_server_context, { certfile = %q, keyfile = %q }))
  ]]):format(certificates.file "server.pem", certificates.file "locked.key"))
  t.assertStrMatches(output, "false\t.*password.*")
  t.assertEquals(status, 0)
end

TestWords = {}

function TestWords:test_with_a_zero_byte_are_refused()
  for key, value in pairs { alpn_protocols = { "h2\0" }, sni = { ["a\0b"] = secure.server_context() },
    certfile = "a\0b", keyfile = "a\0b", cafile = "a\0b", capath = "a\0b", cadata = "-----BEGIN \0",
    crlfile = "a\0b", keylog_filename = "a\0b", password = "a\0b", ciphers = "a\0b" } do
    t.assertErrorMsgContains("with a zero byte", ssl.create_server_context,
      secure.joined({ certfile = "server.pem" }, { [key] = value }))
  end
end

function TestWords:test_of_alpn_are_checked()
  local context = ssl.create_default_context()
  t.assertErrorMsgContains("set_alpn_protocols", context.set_alpn_protocols, context, { "" })
  t.assertErrorMsgContains("set_alpn_protocols", context.set_alpn_protocols, context, { ("x"):rep(256) })
  t.assertErrorMsgContains("set_alpn_protocols", context.set_alpn_protocols, context, { 5, {} })
  t.assertErrorMsgContains("set_alpn_protocols", context.set_alpn_protocols, context, "h2")
end

function TestWords:test_of_ciphers_that_name_none_are_refused()
  local context = ssl.create_default_context()
  assert_ssl_error("cipher", context.set_ciphers, context, "NONESUCH")
  assert_ssl_error("cipher", context.set_ciphersuites, context, "TLS_NONE")
end

TestFields = {}

local function assign(context, key, value) context[key] = value end

function TestFields:test_can_be_read()
  local context = secure.server_context { verify_mode = "optional", cafile = certificates.file "root.pem",
    maximum_version = "TLSv1.2", num_tickets = 1 }
  t.assertEquals({ context.purpose, context.verify_mode, context.check_hostname, context.minimum_version,
    context.maximum_version, context.num_tickets }, { "server", "optional", false, "TLSv1.2", "TLSv1.2", 1 })
  context = ssl.create_default_context()
  t.assertEquals({ context.verify_mode, context.check_hostname }, { "required", true })
  t.assertNil(context.maximum_version)
  t.assertNil(context.password)
end

function TestFields:test_are_not_assigned_to()
  local context = ssl.create_default_context()
  t.assertErrorMsgContains('is an option of ssl.create_default_context{verify_mode = ...}', assign, context,
    "verify_mode", "none")
  t.assertErrorMsgContains("ssl.SSLContext{purpose = ...}", assign, context, "purpose", "server")
  t.assertErrorMsgContains("call its set_ciphers", assign, context, "ciphers", "ALL")
  t.assertErrorMsgContains("context has no field 'nonsense'", assign, context, "nonsense", 1)
  t.assertErrorMsgContains("ssl.create_server_context{sni", assign, secure.server_context(), "sni", {})
  t.assertEquals(context.verify_mode, "required")
end

TestFixed = {}

function TestFixed:test_a_context_is_with_its_first_server()
  t.real(function()
    local context = secure.server_context()
    local server <close> = secure.serve(function() end, { ssl = context })
    t.assertErrorMsgContains("in use", context.set_alpn_protocols, context, { "h2" })
    t.assertErrorMsgContains("in use", context.load_cert_chain, context, certificates.file "both.pem")
    local _ = server
  end)
end

function TestFixed:test_a_context_is_with_its_first_connection()
  t.run(function()
    local context = secure.client_context()
    secure.memory(function() end, { near = context })
    t.assertErrorMsgContains("in use", context.set_ciphers, context, "ECDHE+AESGCM")
    t.assertErrorMsgContains("in use", context.load_verify_locations, context,
      { cafile = certificates.file "root.pem" })
  end)
end

TestArguments = {}

function TestArguments:test_ssl_may_be_true_or_a_context_of_that_side()
  t.real(function()
    local server <close> = secure.serve(function() end)
    local port = peers.port(server)
    local function with(what) return function() asyncio.open_connection("127.0.0.1", port, { ssl = what }) end end
    for _, wrong in ipairs { 5, "yes", {}, io.stdout } do t.assertErrorMsgContains("ssl", with(wrong)) end
    t.assertErrorMsgContains("server", with(secure.server_context()))
    t.assertErrorMsgContains("client", secure.serve, function() end, { ssl = secure.client_context() })
    t.assertErrorMsgContains("ssl", secure.serve, function() end, { ssl = true })
  end)
end

function TestArguments:test_a_server_needs_a_certificate()
  t.real(function()
    t.assertErrorMsgContains("certificate", secure.serve, function() end,
      { ssl = ssl.SSLContext { purpose = "server" } })
  end)
end

function TestArguments:test_a_server_that_asks_for_certificates_needs_who_vouches_for_them()
  t.real(function()
    for _, mode in ipairs { "optional", "required" } do
      local context = secure.server_context { verify_mode = mode }
      local function refuse(...) t.assertErrorMsgContains("a context with authorities expected ('cafile'", ...) end
      refuse(secure.serve, print, { ssl = context })
      refuse(secure.serve, print, { ssl = secure.server_context { sni = { ["a.example"] = context } } })
      local server <close> = secure.serve(print)
      refuse(server.set_ssl_context, server, context)
      local _, writer, _, peer_writer = asyncio.stream_pair()
      refuse(writer.start_tls, writer, context, { server_side = true })
      context:load_verify_locations { cafile = certificates.file "root.pem" }
      server:set_ssl_context(context)
      writer:abort()
      peer_writer:abort()
    end
  end)
end

function TestArguments:test_what_belongs_to_the_context_is_said_so()
  t.real(function()
    t.assertErrorMsgContains("did you mean 'ssl'?", asyncio.open_connection, "127.0.0.1", 1, { tls = true })
    t.assertErrorMsgContains("did you mean 'ssl'?", secure.serve, print, { ssl_context = true })
    t.assertErrorMsgContains("an option of ssl.create_default_context", asyncio.open_connection, "127.0.0.1", 1,
      { verify = false })
    t.assertErrorMsgContains("an option of ssl.create_server_context", secure.serve, print, { certfile = "a.pem" })
  end)
end

function TestArguments:test_options_of_tls_mean_nothing_without_it()
  t.real(function()
    for name, value in pairs { server_hostname = "localhost", ssl_handshake_timeout = 5 } do
      t.assertErrorMsgContains("ssl", asyncio.open_connection, "127.0.0.1", 1, { [name] = value })
    end
    for name, value in pairs { max_handshakes = 5, ssl_handshake_timeout = 5 } do
      t.assertErrorMsgContains("ssl", peers.serve, function() end, { [name] = value })
    end
  end)
end

function TestArguments:test_a_name_with_other_bytes_than_ascii_is_refused_with_a_hint()
  t.real(function()
    t.assertErrorMsgContains("xn--", secure.connect, 1, { server_hostname = "b\u{fc}cher.example" })
  end)
end

function TestArguments:test_where_a_name_would_be_checked_there_must_be_one()
  t.real(function()
    local server <close> = asyncio.start_unix_server(function() end, certificates.file "socket",
      { ssl = secure.server_context() })
    t.assertErrorMsgContains("server_hostname", asyncio.open_unix_connection, certificates.file "socket",
      { ssl = secure.client_context() })
    local reader, _ <close> = asyncio.open_unix_connection(certificates.file "socket",
      { ssl = secure.client_context(), server_hostname = "localhost" })
    t.assertNil(reader:read(1))
    local _ = server
  end)
end

TestKeyLog = {}

function TestKeyLog:test_has_the_secrets_of_each_connection()
  t.run(function()
    local file <close> = peers.file()
    secure.memory(function() end, { near = secure.client_context { keylog_filename = file.name } })
    t.assertStrContains(peers.content(file.name), "CLIENT_TRAFFIC_SECRET_0 ")
  end)
end

function TestKeyLog:test_is_no_pipe_which_would_be_waited_for()
  local file <close> = peers.file()
  os.remove(file.name)
  if not os.execute(("mkfifo '%s'"):format(file.name)) then t.skip "there is no mkfifo" end
  t.assertErrorMsgContains("it is a pipe", ssl.create_default_context, { keylog_filename = file.name })
  local _ <close> = assert(io.open(file.name, "r+"))
  t.assertErrorMsgContains("it is a pipe", ssl.create_default_context, { keylog_filename = file.name })
end

function TestKeyLog:test_is_no_file_that_others_read()
  local file <close> = peers.file()
  os.execute(("chmod 644 '%s'"):format(file.name))
  local err = t.assert_raises(asyncio.PermissionError, ssl.create_default_context, { keylog_filename = file.name })
  t.assertStrContains(err.message, "its mode is to be 600")
  os.execute(("chmod 600 '%s'"):format(file.name))
  ssl.create_default_context { keylog_filename = file.name }
end

function TestKeyLog:test_may_be_a_device()
  ssl.create_default_context { keylog_filename = "/dev/null" }
end

t.finish { sampled = true }
