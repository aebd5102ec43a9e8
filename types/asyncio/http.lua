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

---@alias asyncio.HeadersToSend table<string, string|number|string[]> | string[][]

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
