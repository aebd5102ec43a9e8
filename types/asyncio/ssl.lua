---@meta asyncio.ssl
-- Annotations for the Lua language server: TLS.

---@class asyncio.ssl
---@field SSLError asyncio.SSLError
---@field SSLCertVerificationError asyncio.SSLCertVerificationError
---@field SSLEOFError asyncio.SSLEOFError
local ssl = {}

---@class asyncio.ContextOptions
---@field cafile? string authorities: a file, ...
---@field capath? string ... a folder as `openssl rehash` makes it, ...
---@field cadata? string ... or PEM text
---@field certfile? string a path, or PEM text
---@field keyfile? string a path, or PEM text; where the key isn't in `certfile`
---@field password? string of the key
---@field verify_mode? "none" | "optional" | "required"
---@field check_hostname? boolean whether the certificate must be for the name that is connected to
---@field minimum_version? "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3" ("TLSv1.2")
---@field maximum_version? "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3"
---@field ciphers? string of TLS 1.2
---@field ciphersuites? string of TLS 1.3
---@field alpn_protocols? string[] the one that it likes best first
---@field keylog_filename? string every connection's secrets are added to it
---@field num_tickets? integer a server's, of TLS 1.3 (2; 0 to 100)
---@field crlfile? string revoked certificates: a file, PEM
---@field ignore_unexpected_eof? boolean an end without close_notify is a plain one (false)
---@field sni? table<string, asyncio.SSLContext> | fun(name: string): asyncio.SSLContext? by the client's wish

---@class asyncio.SSLContextOptions
---@field purpose "client" | "server"
---@field cafile? string authorities: a file, ...
---@field capath? string ... a folder as `openssl rehash` makes it, ...
---@field cadata? string ... or PEM text
---@field certfile? string a path, or PEM text
---@field keyfile? string a path, or PEM text; where the key isn't in `certfile`
---@field password? string of the key
---@field verify_mode? "none" | "optional" | "required"
---@field check_hostname? boolean whether the certificate must be for the name that is connected to
---@field minimum_version? "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3" ("TLSv1.2")
---@field maximum_version? "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3"
---@field ciphers? string of TLS 1.2
---@field ciphersuites? string of TLS 1.3
---@field alpn_protocols? string[] the one that it likes best first
---@field keylog_filename? string every connection's secrets are added to it
---@field num_tickets? integer a server's, of TLS 1.3 (2; 0 to 100)
---@field crlfile? string revoked certificates: a file, PEM
---@field ignore_unexpected_eof? boolean an end without close_notify is a plain one (false)
---@field sni? table<string, asyncio.SSLContext> | fun(name: string): asyncio.SSLContext? by the client's wish

---A client's context: it verifies its peers, by the system's authorities or those that are given.
---@param opts? asyncio.ContextOptions
---@return asyncio.SSLContext
function ssl.create_default_context(opts) end

---A server's context: it proves itself by a certificate, and wants none of its clients unless told.
---@param opts? asyncio.ContextOptions
---@return asyncio.SSLContext
function ssl.create_server_context(opts) end

---A context that verifies nothing and trusts nobody, but for what its options say.
---@param opts asyncio.SSLContextOptions
---@return asyncio.SSLContext
function ssl.SSLContext(opts) end

---How TLS is spoken and who is trusted. Its first connection or server fixes it. Fields are read only.
---@class asyncio.SSLContext
---@field purpose "client" | "server"
---@field verify_mode "none" | "optional" | "required"
---@field check_hostname boolean
---@field minimum_version "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3"
---@field maximum_version? "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3" nil: any
---@field num_tickets? integer a server's
local SSLContext = {}

---The certificate that it proves itself by, and its key. Raises SSLError, or OSError (FileNotFoundError).
---@param cert string a path, or PEM text
---@param key? string likewise, where it isn't in there
---@param password? string of the key
function SSLContext:load_cert_chain(cert, key, password) end

---Authorities that are trusted, besides those that it has; one of the three at least.
---@param opts { cafile?: string, capath?: string, cadata?: string }
function SSLContext:load_verify_locations(opts) end

---The protocols that it speaks (ALPN).
---@param protocols string[] the one that it likes best first
function SSLContext:set_alpn_protocols(protocols) end

---Raises SSLError when there is none of that name.
---@param ciphers string of TLS 1.2, as OpenSSL writes them
function SSLContext:set_ciphers(ciphers) end

---Raises SSLError when there is none of that name.
---@param ciphersuites string of TLS 1.3
function SSLContext:set_ciphersuites(ciphersuites) end

---What `get_extra_info("peercert")` gives.
---@class asyncio.PeerCertificate
---@field subject table `subject.CN`, or as a list, `{{type="CN", value=}, …}`; with a tostring
---@field issuer table likewise
---@field serial string hex
---@field not_before number epoch seconds
---@field not_after number
---@field san { type: string, value: string }[]
---@field der string
---@field verified boolean

return ssl
