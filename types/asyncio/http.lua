---@meta asyncio.http
-- Annotations for the Lua language server: HTTP.

---@class asyncio.http
---@field HTTPError asyncio.HTTPError
---@field ProtocolError asyncio.ProtocolError
---@field BodyTooLarge asyncio.BodyTooLarge
---@field TooManyRedirects asyncio.TooManyRedirects
---@field HTTPStatusError asyncio.HTTPStatusError
---@field WebSocketError asyncio.WebSocketError
local http = {}

---@class asyncio.HTTPError : asyncio.Error
---@overload fun(message?: string|table): asyncio.HTTPError

---@class asyncio.ProtocolError : asyncio.HTTPError
---@field partial? string what had come of a body that was cut
---@overload fun(message?: string|table): asyncio.ProtocolError

---@class asyncio.BodyTooLarge: asyncio.HTTPError
---@field limit integer
---@overload fun(message?: string|table): asyncio.BodyTooLarge

---@class asyncio.TooManyRedirects: asyncio.HTTPError
---@field response asyncio.Response the last answer
---@overload fun(message?: string|table): asyncio.TooManyRedirects

---@class asyncio.HTTPStatusError : asyncio.HTTPError
---@field response asyncio.Response
---@field status integer
---@overload fun(message?: string|table): asyncio.HTTPStatusError

---@class asyncio.WebSocketError : asyncio.HTTPError
---@field response? asyncio.Response the server's refusal
---@overload fun(message?: string|table): asyncio.WebSocketError

---@alias asyncio.HeadersToSend
---| table<string, string | integer | string[]>
---| { [1]: string, [2]: string }[]
---| asyncio.Headers
---@alias asyncio.FormFields
---| table<string, string | number | boolean | string[]>
---| { [1]: string, [2]: string }[]

---@class asyncio.RequestOptions
---@field url? string in place of the argument
---@field method? string (`request` only) "GET"
---@field headers? asyncio.HeadersToSend
---@field body? string | string[] | (fun(): string?) | asyncio.StreamReader | asyncio.File | asyncio.Response
---@field query? asyncio.FormFields encoded, and added to the URL
---@field form? asyncio.FormFields encoded, as body
---@field auth? { [1]: string, [2]: string } user, password
---@field ssl? boolean | asyncio.SSLContext a client's context
---@field unix? string the path of a socket to connect to
---@field proxy? string "http://host:port"
---@field max_redirects? integer (5)
---@field max_body? integer bytes that `read` takes, and that may be unpacked (64 MiB)
---@field timeout? number seconds to the answer's head, then for more of the body (60)
---@field connect_timeout? number seconds for lookup, connecting and TLS (10)
---@field total_timeout? number seconds for all of it, the body too

---@class asyncio.ClientOptions
---@field base_url? string what URLs are relative to
---@field max_connections? integer (100)
---@field max_connections_per_host? integer (10)
---@field keepalive_timeout? number seconds for which idle connections are kept (4, or as the server says)
---@field headers? asyncio.HeadersToSend of all requests that don't say theirs
---@field auth? { [1]: string, [2]: string } user, password
---@field ssl? boolean | asyncio.SSLContext
---@field unix? string
---@field proxy? string
---@field max_redirects? integer
---@field max_body? integer
---@field timeout? number
---@field connect_timeout? number
---@field total_timeout? number

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function http.request(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function http.get(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function http.post(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function http.put(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function http.patch(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function http.delete(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function http.head(url, opts) end

---@param opts? asyncio.ClientOptions
---@return asyncio.Client
function http.Client(opts) end

--- Keeps connections, and uses them again. `local client <close> = http.Client{...}`
---@class asyncio.Client
local Client = {}

---@param url string | asyncio.RequestOptions may be relative to `base_url`
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function Client:request(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function Client:get(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function Client:post(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function Client:put(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function Client:patch(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function Client:delete(url, opts) end

---@param url string | asyncio.RequestOptions
---@param opts? asyncio.RequestOptions
---@return asyncio.Response
function Client:head(url, opts) end

--- Idle connections are closed, those in use once their bodies are read.
function Client:close() end

--- An answer; its body is read as it comes.
---@class asyncio.Response
---@field status integer
---@field reason string
---@field version "1.0" | "1.1"
---@field headers asyncio.Headers
---@field url string where it came from in the end
---@field history asyncio.Response[] what led there by redirects
local Response = {}

---@param n? integer at most so many bytes; otherwise all that is left
---@return string? nil at the end, where n is given
function Response:read(n) end

---@param separator? string ("\n")
---@return fun(): string?
function Response:lines(separator) end

---@param n? integer bytes at most (65536)
---@return fun(): string?
function Response:blocks(n) end

--- Drops what is unread.
function Response:close() end

--- Raises HTTPStatusError where the status is 400 or more.
---@return asyncio.Response
function Response:raise_for_status() end

---@class asyncio.ServeOptions
---@field host? string | string[] by name: in place of the arguments
---@field port? integer
---@field path? string a unix socket's
---@field fd? integer a socket that listens already
---@field max_header_size? integer bytes of a request's line and fields (16384)
---@field max_body? integer | false bytes of a request's body (1 MiB)
---@field header_timeout? number seconds to the end of a head (10)
---@field idle_timeout? number seconds between two requests (75)
---@field body_timeout? number seconds without a byte of a body (30)
---@field max_requests? integer of a connection
---@field access_log? boolean | asyncio.StreamWriter | fun(entry: asyncio.AccessEntry)
---@field server_header? string the Server field of all answers
---@field ssl? asyncio.SSLContext and all other options of `start_server`

---@class asyncio.AccessEntry
---@field peer string
---@field method? string nil: no request could be understood
---@field target? string
---@field version string
---@field host? string
---@field status integer 0: the handler failed before it had answered
---@field bytes integer of the answer's body
---@field seconds number
---@field time integer
---@field referer? string
---@field user_agent? string

---@class asyncio.Answer
---@field status? integer (200)
---@field headers? asyncio.HeadersToSend
---@field body? string | fun(): string? | asyncio.StreamReader | asyncio.File | table

---Starts an HTTP server.
---@param handler fun(request: asyncio.Request): string | asyncio.Answer | nil
---@param host? string | string[] | asyncio.ServeOptions
---@param port? integer
---@param opts? asyncio.ServeOptions
---@return asyncio.Server
function http.serve(handler, host, port, opts) end

---Ends a handler with an answer.
---@param status integer 300 to 599
---@param body? string
---@param headers? asyncio.HeadersToSend
function http.abort(status, body, headers) end

---A file as an answer, for a handler to return.
---@param request asyncio.Request
---@param path string below root
---@param root string a folder
---@return asyncio.Answer
function http.file(request, path, root) end

---A request, as a handler gets it.
---@class asyncio.Request
---@field method string
---@field target string as sent
---@field path string decoded once
---@field query table<string, string|string[]>
---@field query_string? string
---@field headers asyncio.Headers
---@field version "1.1" | "1.0"
---@field host? string
---@field scheme "http" | "https"
---@field peer? asyncio.Address
---@field content_length? integer
---@field upgrade_to? string the protocol that the client would rather speak
---@field max_body integer | false
---@field trailers? asyncio.Headers
local Request = {}

---All of the body, or up to n bytes as they come.
---@param n? integer
---@return string? data nil at the end, if n was given
function Request:read(n) end

---@param n? integer bytes of a piece at most (65536)
---@return fun(): string?
function Request:blocks(n) end

---@param separator? string ("\n")
---@return fun(): string?
function Request:lines(separator) end

---The fields of a form.
---@return table<string, string|string[]>
function Request:form() end

---Begins an answer whose body the handler writes.
---@param status? integer (200)
---@param headers? asyncio.HeadersToSend
---@return asyncio.BodyWriter
function Request:respond(status, headers) end

---From now on another protocol is spoken.
---@param protocol string
---@param headers? asyncio.HeadersToSend
---@return asyncio.StreamReader
---@return asyncio.StreamWriter
function Request:upgrade(protocol, headers) end

---@class asyncio.WebSocketLimits
---@field protocols? string[] names of subprotocols, the best first
---@field max_message? integer bytes (1 MiB)
---@field max_queue? integer messages that wait (16)
---@field ping_interval? number seconds without a byte (20)
---@field ping_timeout? number seconds for the answer (20)
---@field close_timeout? number seconds in which the peer has to agree to the end (10)

---@class asyncio.AcceptOptions : asyncio.WebSocketLimits
---@field origins? string[] | "*" | (fun(origin: string?, request: asyncio.Request): boolean)

---@class asyncio.WebSocketClientOptions : asyncio.WebSocketLimits
---@field url? string in place of the argument
---@field headers? asyncio.HeadersToSend
---@field auth? { [1]: string, [2]: string } user, password
---@field ssl? boolean | asyncio.SSLContext a client's context
---@field unix? string the path of a socket to connect to
---@field connect_timeout? number seconds for lookup, connecting and TLS (10)
---@field timeout? number seconds for all of the handshake (60)

---A WebSocket connection.
---@class asyncio.WebSocket
---@field protocol? string the subprotocol that was agreed on
---@field close_code? integer after any end
---@field close_reason? string
local WebSocket = {}

---@param text string UTF-8
function WebSocket:send(text) end

---@param data string
function WebSocket:send_binary(data) end

---@return string? message nil: it has ended
---@return "text" | "binary" | nil kind
function WebSocket:receive() end

---@return fun(): string?, string?
function WebSocket:iter() end

---@return number seconds
function WebSocket:ping() end

---@param code? integer (1000)
---@param reason? string
function WebSocket:close(code, reason) end

---Opens a WebSocket connection.
---@param url string | asyncio.WebSocketClientOptions
---@param opts? asyncio.WebSocketClientOptions
---@return asyncio.WebSocket
function http.websocket(url, opts) end

---Answers that from now on this is a WebSocket.
---@param opts? asyncio.AcceptOptions
---@return asyncio.WebSocket
function Request:websocket(opts) end

---@class asyncio.BodyWriter
local BodyWriter = {}

---@param ... string
function BodyWriter:write(...) end

---Writes, and waits while too much is unsent.
---@param ... string
function BodyWriter:send(...) end

function BodyWriter:drain() end

---@return integer bytes
function BodyWriter:pending() end

---The body is complete.
---@param trailers? asyncio.HeadersToSend
function BodyWriter:close(trailers) end

return http
