--- TLS: what clients and servers are, whom they trust, how they prove themselves.
--
-- A context says all that; `open_connection`, `start_server` and `StreamWriter:start_tls` take one, and any
-- number of connections may have the same. It stands on OpenSSL 3, which is a rock of its own:
-- `lua-asyncio-ssl`. The classes of errors `SSLError`, `SSLCertVerificationError` and `SSLEOFError` are
-- fields here, too.
-- @module asyncio.ssl
-- @usage
-- local ssl = require "asyncio.ssl"
-- for _, name in ipairs { "SSLError", "SSLCertVerificationError", "SSLEOFError" } do
--   print(asyncio.type(ssl[name] "no answer"), ssl[name] == asyncio[name])
-- end
local check = require "asyncio.check"
local core = require "asyncio.core"
local libssl = require "asyncio.libssl"
local securing = require "asyncio.securing"
local sockets = require "asyncio.sockets"

local ssl = {
  SSLError = core.SSLError,
  SSLCertVerificationError = core.SSLCertVerificationError,
  SSLEOFError = core.SSLEOFError,
}

local VERSIONS = "TLSv1|TLSv1.1|TLSv1.2|TLSv1.3" -- the least one first
local LEAST = "TLSv1.2"                          -- unless another is said

local LOCATIONS = { { "cafile", "string" }, { "capath", "string" }, { "cadata", "string" } }
local PURPOSE = { { "purpose", "choice", "client|server", required = true } }
local OPTIONS = {
  { "certfile", "string" }, { "keyfile", "string" }, { "password", "string" },
  { "verify_mode", "choice", "none|optional|required" }, { "check_hostname", "boolean" },
  { "minimum_version", "choice", VERSIONS }, { "maximum_version", "choice", VERSIONS },
  { "ciphers", "string" }, { "ciphersuites", "string" }, { "alpn_protocols", "list" },
  { "keylog_filename", "string" }, { "num_tickets", "integer", 0, 100 }, { "crlfile", "string" },
  { "ignore_unexpected_eof", "boolean" }, { "sni", "any" },
  -- what Python, Node, curl and others call them
  guesses = "ca cacert ca_cert ca_certs ca_file=cafile|ca_path=capath|cert certificate cert_file crt=certfile"
    .. "|key private_key privatekey key_file=keyfile|pass passphrase=password"
    .. "|verify cert_reqs insecure rejectUnauthorized=verify_mode|verify_hostname=check_hostname"
    .. "|alpn protocols ALPNProtocols=alpn_protocols|protocol min_version minVersion=minimum_version"
    .. "|max_version maxVersion=maximum_version|crl=crlfile|keylog sslkeylogfile=keylog_filename"
    .. "|tickets=num_tickets|sni_callback SNICallback=sni"
    .. "|server_hostname servername hostname=that is said where one connects (open_connection, start_tls)",
}
local DEFAULT_OPTIONS = sockets.options("create_default_context", 1, nil, LOCATIONS, OPTIONS)
local SERVER_OPTIONS = sockets.options("create_server_context", 1, nil, LOCATIONS, OPTIONS)
local CONTEXT_OPTIONS = sockets.options("SSLContext", 1, nil, PURPOSE, LOCATIONS, OPTIONS)
local LOCATION_OPTIONS = sockets.options("load_verify_locations", 1, nil, LOCATIONS)

local openssl, class

local FILES = {
  ENOENT = core.FileNotFoundError, EACCES = core.PermissionError, EPERM = core.PermissionError,
}

--- What a function of that module gives: true, or nil and what has gone wrong.
local function ensure(ok, failure)
  if ok then return end
  if failure.library == "SYS" then -- a file's; the reason is errno's name
    error((FILES[failure.reason] or core.OSError) { message = failure.message, code = failure.reason }, 0)
  end
  error(core.SSLError {
    message = failure.message, reason = failure.reason, library = failure.library, code = failure.reason,
  }, 0)
end

-- Checks

local function check_text(text, n, name, prefix, what)
  if not text then return end
  if text:find("\0", 1, true) then check.error(n, name, prefix .. what .. " with a zero byte") end
  if text == "" and what:find "^path" then
    check.error(n, name, ("%sa %s that isn't empty expected"):format(prefix, what))
  end
end

local function check_string(value, n, name, what)
  if type(value) ~= "string" then check.fail(n, name, what, value) end
  check_text(value, n, name, "", what)
end

local TEXTS = {
  cafile = "path", capath = "path", certfile = "path or PEM text", keyfile = "path or PEM text",
  password = "password", keylog_filename = "path", crlfile = "path", ciphers = "list", ciphersuites = "list",
}

local function is_pem(text) return text:find("-----BEGIN ", 1, true) end

local function is_der(text) return text:find "^\x30[\x80-\xff]" end

--- Paths and text don't change places.
local function check_authorities(opts, name)
  for _, key in ipairs { "cafile", "capath" } do
    if opts[key] and is_pem(opts[key]) then
      check.error(1, name, ("'%s': path expected, got PEM text: that is for 'cadata'"):format(key))
    end
  end
  local text = opts.cadata
  if text and is_pem(text) then
    check_text(text, 1, name, "'cadata': ", "text")
  elseif text and not is_der(text) and text:find "^%g[^\n]*$" then
    check.error(1, name, "'cadata': PEM text expected, got another line: a path is for 'cafile'")
  end
end

local function check_texts(opts, name)
  for key, what in pairs(TEXTS) do check_text(opts[key], 1, name, ("'%s': "):format(key), what) end
  check_authorities(opts, name)
end

--- Those without which they mean nothing, or which mean nothing here.
local function check_company(opts, purpose, name)
  for _, key in ipairs { "keyfile", "password" } do
    if opts[key] and not opts.certfile then
      check.error(1, name, ("'%s' does not go without 'certfile'"):format(key))
    end
  end
  if purpose == "server" then
    if opts.check_hostname then
      check.error(1, name, "'check_hostname' is for clients' contexts: a client has no name")
    end
    return
  end
  if opts.sni ~= nil then check.error(1, name, "'sni' is for servers' contexts") end
end

local function check_versions(opts, name)
  local least, most = opts.minimum_version or LEAST, opts.maximum_version
  if not most or VERSIONS:find(least .. "%f[|\0]") <= VERSIONS:find(most .. "%f[|\0]") then return end
  if opts.minimum_version then
    check.error(1, name, ("'minimum_version' is %s, but 'maximum_version' %s"):format(least, most))
  end
  check.error(1, name, ("'maximum_version' is %s: 'minimum_version' has to be said, too"):format(most))
end

--- The mode, and whether the peer's name is checked.
local function verification(opts, purpose, name, mode)
  local checks = opts.check_hostname
  if checks and not opts.verify_mode then mode = "required" end
  mode = opts.verify_mode or mode
  if checks and mode == "none" then
    check.error(1, name, "'check_hostname' does not go with 'verify_mode' \"none\"")
  end
  if purpose == "server" then return mode, false end
  if checks == nil then checks = mode ~= "none" end
  return mode, checks
end

--- A list of protocols as it is sent.
local function wire_of(list, n, name, prefix)
  local parts = {}
  for i, protocol in ipairs(list) do
    if type(protocol) ~= "string" then check.fail(n, name, prefix .. "list of names", protocol) end
    if #protocol < 1 or #protocol > 255 then
      check.error(n, name, ("%sa name has 1 to 255 bytes, number %d has %d"):format(prefix, i, #protocol))
    end
    check_text(protocol, n, name, prefix, "a name")
    parts[i] = string.pack("s1", protocol)
  end
  if #parts ~= #list then check.error(n, name, prefix .. "a list has no holes") end
  local wire = table.concat(parts)
  if #wire > 65535 then check.error(n, name, prefix .. "too many protocols") end
  return wire
end

--- The contexts by their names in small letters; or a function.
local function sni_of(sni, name)
  if sni == nil or type(sni) == "function" then return sni end
  if check.is_callable(sni) then return function(...) return sni(...) end end
  if type(sni) ~= "table" then check.fail(1, name, "'sni': table of contexts, or function,", sni) end
  local contexts = {}
  for key, context in pairs(sni) do
    if type(key) ~= "string" then check.fail(1, name, "'sni': names", key) end
    if key:find("*", 1, true) then
      check.error(1, name, "'sni': names only, not " .. key .. ": a function may choose by a pattern")
    end
    local wanted = securing.check_name(key, 1, name, "'sni': ")
    contexts[wanted:lower()] = securing.check_context(context, "server", 1, name, ("'sni': %s: "):format(key))
  end
  return contexts
end

-- Making

local SSLContext = {} -- its methods

--- What can be read of a context, as fields.
local FIELDS = {
  purpose = function(context) return context:_purpose() end,
  verify_mode = function(context) return context:_verify_mode() end,
  check_hostname = function(context) return context:_checks_hostname() end,
  minimum_version = function(context) return (context:_versions()) end,
  maximum_version = function(context) return select(2, context:_versions()) end,
  num_tickets = function(context) return context:_purpose() == "server" and context:_num_tickets() or nil end,
}

--- What changes the others afterwards.
local SETTERS = {
  alpn_protocols = "set_alpn_protocols", ciphers = "set_ciphers", ciphersuites = "set_ciphersuites",
  certfile = "load_cert_chain", keyfile = "load_cert_chain", password = "load_cert_chain",
  cafile = "load_verify_locations", capath = "load_verify_locations", cadata = "load_verify_locations",
}

local MAKERS = { client = "create_default_context", server = "create_server_context" }

local function is_option(key)
  for _, spec in ipairs(OPTIONS) do
    if spec[1] == key then return true end
  end
  return FIELDS[key] ~= nil
end

--- Nothing is assigned to.
local function refuse(context, key)
  key = core.words(key)
  if SETTERS[key] then check.raise(("a context has no field '%s': call its %s"):format(key, SETTERS[key])) end
  if not is_option(key) then
    check.raise(("a context has no field '%s': its options are said when it is made"):format(key))
  end
  local maker = key == "purpose" and "SSLContext" or MAKERS[context:_purpose()]
  check.raise(("'%s' of a context cannot be assigned to: it is an option of ssl.%s{%s = ...}"):format(key,
    maker, key))
end

--- Memory may run out in the middle: the next one does it again.
local function dress(metatable)
  local methods = metatable.methods
  for key, method in pairs(SSLContext) do methods[key] = method end
  function metatable:__index(key)
    local method = methods[key]
    if method ~= nil then return method end
    local read = FIELDS[key]
    return read and read(self)
  end
  metatable.__newindex = refuse
  class = metatable
end

--- A context that verifies nothing; its class has its methods from the first on.
local function new(purpose)
  core.check_alive() -- its finaliser would not be called any more
  openssl = openssl or libssl.load()
  local context = openssl.new(purpose)
  if not class then dress(getmetatable(context)) end
  return context
end

local function build(name, purpose, opts, mode, default)
  check_texts(opts, name)
  check_company(opts, purpose, name)
  check_versions(opts, name)
  local verify_mode, check_hostname = verification(opts, purpose, name, mode)
  local protocols = opts.alpn_protocols and wire_of(opts.alpn_protocols, 1, name, "'alpn_protocols': ")
  local sni = sni_of(opts.sni, name)
  local context = new(purpose)
  ensure(context:_set_versions(opts.minimum_version or LEAST, opts.maximum_version))
  if opts.ciphers then ensure(context:_set_ciphers(opts.ciphers)) end
  if opts.ciphersuites then ensure(context:_set_ciphersuites(opts.ciphersuites)) end
  ensure(context:_set_verify(verify_mode, check_hostname))
  if opts.cafile or opts.capath or opts.cadata then
    ensure(context:_load_verify_locations(opts.cafile, opts.capath, opts.cadata))
  elseif default and verify_mode ~= "none" then
    ensure(context:_set_default_verify_paths())
  end
  if opts.crlfile then ensure(context:_load_crl(opts.crlfile)) end
  if opts.certfile then ensure(context:_load_cert_chain(opts.certfile, opts.keyfile, opts.password)) end
  if protocols then ensure(context:_set_alpn(protocols)) end
  if opts.keylog_filename then ensure(context:_set_keylog(opts.keylog_filename)) end
  if opts.num_tickets and purpose == "server" then ensure(context:_set_num_tickets(opts.num_tickets)) end
  if opts.ignore_unexpected_eof then ensure(context:_set_ignore_eof(true)) end
  if sni then ensure(context:_set_sni(sni)) end
  return context
end

--- A client's context: it verifies its peers, by the system's authorities or those that are given.
-- The certificate must be for the name (or the IP address) that is connected to: `server_hostname`, which
-- `open_connection`'s host is unless it is given. TLS 1.2 and 1.3. `ssl = true` means one of these, the same
-- each time.
-- @tparam[opt] table opts `cafile`, `capath`, `cadata` (PEM): authorities, in place of the system's; what its
-- peer may see of it: `certfile`, `keyfile`, `password`; `verify_mode` ("required"; "none" looks at no
-- certificate and no name), `check_hostname` (true), `crlfile`, `minimum_version` ("TLSv1.2"),
-- `maximum_version`, `ciphers`, `ciphersuites`, `alpn_protocols`, `keylog_filename`, `ignore_unexpected_eof`:
-- as `SSLContext`'s; `num_tickets` and `sni` are for servers
-- @treturn SSLContext
-- @usage
-- local ssl = require "asyncio.ssl"
-- local context = ssl.create_default_context { alpn_protocols = { "h2", "http/1.1" } }
-- print(asyncio.type(context)) --> SSLContext
function ssl.create_default_context(opts)
  return build("create_default_context", "client", DEFAULT_OPTIONS(opts), "required", true)
end

--- A server's context: it proves itself by a certificate, and wants none of its clients unless told.
-- @tparam[opt] table opts `certfile`, `keyfile`, `password`: as `SSLContext:load_cert_chain`'s; `verify_mode`
-- ("none"; "optional", "required": clients are asked for certificates), which `cafile`, `capath` or `cadata`
-- (PEM) vouch for, never the system's authorities; `sni`, `num_tickets`, `crlfile`, `minimum_version`
-- ("TLSv1.2"), `maximum_version`, `ciphers`, `ciphersuites`, `alpn_protocols`, `keylog_filename`,
-- `ignore_unexpected_eof`: as `SSLContext`'s; `check_hostname` is for clients
-- @treturn SSLContext
-- @usage
-- local ssl = require "asyncio.ssl"
-- local context = ssl.create_server_context { alpn_protocols = { "h2" } } -- a certificate may come later
-- local ok, err = pcall(asyncio.start_server, print, "127.0.0.1", 0, { ssl = context })
-- print(ok, err:match "context with a certificate expected") --> false  context with a certificate expected
function ssl.create_server_context(opts)
  return build("create_server_context", "server", SERVER_OPTIONS(opts), "none")
end

--- A context that verifies nothing and trusts nobody, but for what its options say.
--
-- `verify_mode`: whether the peer must have a certificate that is verified ("required"), may have none
-- ("optional": servers only, for clients it is the same), or isn't asked ("none"). `check_hostname`, a
-- client's: whether it must be for the name that is connected to; true with every `verify_mode` but "none".
--
-- `sni`, a server's: the context for the name that a client asks for, a table `{["a.example"] = context}` or
-- `function(name)` that gives one; names are in small letters. nil: this one; an `SSLError` refuses the
-- client (`unrecognized_name`), and so does any other error, which the loop's exception handler hears of. The
-- context that is chosen holds entirely. The function may not wait.
--
-- `password` is that of an encrypted key; nobody is asked for one. `minimum_version`, `maximum_version`:
-- "TLSv1.2", "TLSv1.3", or, for what is old and weak, "TLSv1" and "TLSv1.1". `crlfile`: revoked
-- certificates, PEM; every one of a chain is then looked up, up to a root that is trusted. `num_tickets`
-- (2; 0 to 100): for how many resumptions a server gives its client tickets in TLS 1.3. `keylog_filename`:
-- every connection's secrets are added to that file, for Wireshark; it must be one's own, and others may
-- not read it. `ignore_unexpected_eof`: an end without the peer's close_notify is a plain end, for
-- protocols that know the length of what comes.
--
-- A file that cannot be read raises OSError (FileNotFoundError, PermissionError), one that has not in it what
-- it should SSLError; so it is with the other two. The first connection or server that has it fixes it: what
-- changes it raises InvalidStateError then.
-- @tparam table opts `purpose` ("client", "server"), `cafile`, `capath`, `cadata`, `certfile`, `keyfile`,
-- `password`, `verify_mode` ("none"), `check_hostname`, `minimum_version` ("TLSv1.2"), `maximum_version`
-- (none), `ciphers` (of TLS 1.2) and `ciphersuites` (of TLS 1.3: OpenSSL's names with ":" between),
-- `alpn_protocols` (a list), `keylog_filename`, `num_tickets`, `crlfile`, `ignore_unexpected_eof` (false),
-- `sni`
-- @treturn SSLContext
-- @usage
-- local ssl = require "asyncio.ssl"
-- local insecure = ssl.SSLContext { purpose = "client" }
-- local _, err = pcall(ssl.SSLContext, { purpose = "client", verify_mode = "none", check_hostname = true })
-- print(err:match "%((.*)%)") --> 'check_hostname' does not go with 'verify_mode' "none"
function ssl.SSLContext(opts)
  opts = CONTEXT_OPTIONS(opts == nil and {} or opts)
  return build("SSLContext", opts.purpose, opts, "none")
end

-- Methods

local function check_changeable(context)
  if context:_is_fixed() then
    error(core.InvalidStateError "the context is in use, and does not change any more: make another", 0)
  end
end

--- How TLS is spoken and who is trusted; the functions of `asyncio.ssl` make it. It stays in its thread.
-- What it has come to can be read: `purpose` ("client", "server"), `verify_mode`, `check_hostname`,
-- `minimum_version`, `maximum_version` (nil: any), and a server's `num_tickets`. Nothing is assigned to.
-- @type SSLContext
-- @usage
-- local ssl = require "asyncio.ssl"
-- local context = ssl.SSLContext { purpose = "server" }
-- context:set_alpn_protocols { "h2", "http/1.1" }
-- local ok, err = pcall(context.load_cert_chain, context, "/no/such/file.pem")
-- print(ok, asyncio.type(err), err.code) --> false  FileNotFoundError  ENOENT
-- print(context.verify_mode, context.minimum_version) --> none  TLSv1.2

--- The certificate that it proves itself by, those between it and the authority's behind it, and the key.
-- Each is the path of a file, or PEM text. A key that isn't the certificate's, that the password doesn't
-- open, or that isn't there raises SSLError; a file that cannot be read OSError (FileNotFoundError,
-- PermissionError).
-- A context in use raises InvalidStateError, here and in the methods below.
-- @tparam string cert
-- @tparam[opt] string key as `cert`, where it isn't in there
-- @tparam[opt] string password of the key
function SSLContext:load_cert_chain(cert, key, password)
  check.self(self, class, "load_cert_chain")
  check_changeable(self)
  check_string(cert, 1, "load_cert_chain", "path or PEM text")
  if key ~= nil then check_string(key, 2, "load_cert_chain", "path or PEM text") end
  if password ~= nil then check_string(password, 3, "load_cert_chain", "password") end
  ensure(self:_load_cert_chain(cert, key, password))
end

--- Authorities that are trusted, besides those that it has. Raises SSLError where there are none in what is
-- given, and OSError as `load_cert_chain`.
-- @tparam table opts `cafile`, `capath` (a folder as `openssl rehash` makes it), `cadata` (PEM text): one at
-- least
function SSLContext:load_verify_locations(opts)
  check.self(self, class, "load_verify_locations")
  check_changeable(self)
  opts = LOCATION_OPTIONS(opts)
  check_texts(opts, "load_verify_locations")
  if not next(opts) then
    check.error(1, "load_verify_locations", "'cafile', 'capath' or 'cadata' expected")
  end
  ensure(self:_load_verify_locations(opts.cafile, opts.capath, opts.cadata))
end

--- The protocols that it speaks, the one that it likes best first (ALPN). A server without any in common
-- refuses.
-- @tparam table protocols names, `{"h2", "http/1.1"}`
function SSLContext:set_alpn_protocols(protocols)
  check.self(self, class, "set_alpn_protocols")
  check_changeable(self)
  check.table(protocols, 1, "set_alpn_protocols", "list of names")
  ensure(self:_set_alpn(wire_of(protocols, 1, "set_alpn_protocols", "")))
end

--- The ciphers of TLS 1.2 and below. Raises SSLError when there is none of that name. Those without
-- certificates or without encryption (aNULL, eNULL) are left out of every list.
-- @tparam string ciphers as OpenSSL writes them, "ECDHE+AESGCM:!aNULL"
function SSLContext:set_ciphers(ciphers)
  check.self(self, class, "set_ciphers")
  check_changeable(self)
  check_string(ciphers, 1, "set_ciphers", "string")
  ensure(self:_set_ciphers(ciphers))
end

--- The ciphers of TLS 1.3. Raises SSLError when there is none of that name.
-- @tparam string ciphersuites "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
function SSLContext:set_ciphersuites(ciphersuites)
  check.self(self, class, "set_ciphersuites")
  check_changeable(self)
  check_string(ciphersuites, 1, "set_ciphersuites", "string")
  ensure(self:_set_ciphersuites(ciphersuites))
end

return ssl
