---@meta asyncio.parsers
-- Annotations for the Lua language server: grammars without input and output.

---@class asyncio.parsers
local parsers = {}

--- `headers[name]`, `pairs(headers)`, `#headers`.
---@class asyncio.Headers
---@field [string] string?
---@operator len: integer
local Headers = {}

---@param name string
---@return string?
function Headers:get(name) end

---@param name string
---@return string[]
function Headers:all(name) end

---@alias asyncio.Fields
---| table<string, string | integer | (string | integer)[]>
---| { [1]: string, [2]: string | integer }[]
---| asyncio.Headers

---@alias asyncio.HTTPEvent
---| "request"
---| "response"
---| "informational"
---| "data"
---| "end"
---| "paused"
---| "closed"
---| "error"

---@alias asyncio.HTTPState
---| "idle"
---| "send_response"
---| "send_body"
---| "done"
---| "must_close"
---| "closed"
---| "might_switch_protocol"
---| "switched_protocol"
---| "error"

--- What `into` has after a head; a request's or an answer's.
---@class asyncio.HTTPHead
---@field version "1.1" | "1.0"
---@field headers asyncio.Headers
---@field body boolean one follows
---@field keep_alive boolean
---@field content_length? integer
---@field chunked? true
---@field upgrade? string
---@field method? string
---@field target? string as it was sent
---@field path? string decoded
---@field query_string? string
---@field host? string
---@field scheme? "http" | "https" an absolute target's
---@field expect_continue? true
---@field status? integer
---@field reason? string

---@class asyncio.HTTPOptions
---@field role "server" | "client"
---@field max_line? integer (8190)
---@field max_field_size? integer (8190)
---@field max_header_size? integer (16384)
---@field max_fields? integer (128)
---@field max_chunk_line? integer (4096)
---@field max_trailer_size? integer (4096)

---@class asyncio.HTTPConnection
local HTTPConnection = {}

---@param bytes string
---@param into? table
---@return asyncio.HTTPEvent?
---@return asyncio.HTTPHead | asyncio.Headers | string | integer | nil
---@return string?
---@return integer?
---@return boolean?
function HTTPConnection:feed(bytes, into) end

---@param into? table
---@return asyncio.HTTPEvent?
---@return asyncio.HTTPHead | asyncio.Headers | string | integer | nil
---@return string?
---@return integer?
---@return boolean?
function HTTPConnection:next(into) end

---@param into? table
---@return asyncio.HTTPEvent?
---@return asyncio.HTTPHead | asyncio.Headers | string | integer | nil
---@return string?
---@return integer?
---@return boolean?
function HTTPConnection:feed_eof(into) end

---@return asyncio.HTTPState ours
---@return asyncio.HTTPState theirs
function HTTPConnection:states() end

---@return boolean
function HTTPConnection:next_cycle() end

---@return string
function HTTPConnection:rest() end

---@return integer
function HTTPConnection:pending() end

function HTTPConnection:must_close() end

---@param status integer
---@param headers? asyncio.Fields
---@param body? string | integer | boolean
---@param date? string
---@param reason? string
---@return string
---@return string?
function HTTPConnection:response(status, headers, body, date, reason) end

---@param status integer
---@param headers? asyncio.Fields
---@return string
function HTTPConnection:informational(status, headers) end

---@param protocol string
---@param headers? asyncio.Fields
---@param date? string
---@return string
function HTTPConnection:upgrade(protocol, headers, date) end

---@param method string
---@param target string
---@param host? string
---@param headers? asyncio.Fields
---@param body? string | integer | boolean
---@return string
---@return string?
function HTTPConnection:request(method, target, host, headers, body) end

---@param piece string
---@return string?
---@return string?
---@return string?
function HTTPConnection:data(piece) end

---@param trailers? asyncio.Fields
---@return string
function HTTPConnection:last(trailers) end

---@param opts asyncio.HTTPOptions
---@return asyncio.HTTPConnection
function parsers.http(opts) end

---@param fields asyncio.Fields
---@return asyncio.Headers
function parsers.headers(fields) end

---@param text string
---@return string?
---@return string? why
function parsers.decode(text) end

---@param text string
---@param keep? string
---@return string
function parsers.encode(text, keep) end

---@param text string
---@param most? integer
---@return table<string, string | string[]>?
---@return string? why
function parsers.decode_form(text, most) end

---@param values table
---@return string
function parsers.encode_form(values) end

---@class asyncio.URL
---@field scheme string
---@field host string
---@field authority string
---@field path string
---@field target string
---@field user? string
---@field password? string
---@field port? integer
---@field default_port? integer
---@field query_string? string
---@field fragment? string
---@field ipv4? true
---@field ipv6? true
---@field odd_ipv4? true

---@param text string
---@return asyncio.URL?
---@return string? why
function parsers.url(text) end

---@param base string
---@param reference string
---@return string?
---@return string? why
function parsers.join_url(base, reference) end

---@param text string
---@return string?
---@return integer | string | nil
function parsers.parse_authority(text) end

---@param seconds integer
---@return string
function parsers.date(seconds) end

---@param text string
---@return integer?
function parsers.parse_date(text) end

---@param status integer
---@return string?
function parsers.reason(status) end

---@param text string
---@return boolean
function parsers.is_token(text) end

---@alias asyncio.WebSocketEvent "text" | "binary" | "ping" | "pong" | "close" | "error"

---@class asyncio.WebSocketOptions
---@field role "server" | "client"
---@field max_message? integer (1048576)

---@class asyncio.WebSocketConnection
local WebSocketConnection = {}

---@param bytes string
---@return asyncio.WebSocketEvent?
---@return string | integer | nil data or a code
---@return string? reason
function WebSocketConnection:feed(bytes) end

---@return asyncio.WebSocketEvent?
---@return string | integer | nil data or a code
---@return string? reason
function WebSocketConnection:next() end

---@return integer
function WebSocketConnection:pending() end

---@param kind "text" | "binary" | "ping" | "pong"
---@param data string
---@return string? bytes nil: the text is not UTF-8
---@return string? more
function WebSocketConnection:frame(kind, data) end

---@param code? integer
---@param reason? string
---@return string
function WebSocketConnection:close(code, reason) end

---@param opts asyncio.WebSocketOptions
---@return asyncio.WebSocketConnection
function parsers.websocket(opts) end

---@return string
function parsers.websocket_key() end

---@param key string
---@return string?
function parsers.websocket_accept(key) end

---@param code integer
---@return boolean
function parsers.websocket_may_say(code) end

---@class asyncio.PackOptions
---@field list? boolean (false) a list with a field n, as table.pack makes it
---@field max_size? integer (16777216)
---@field max_depth? integer (128)

--- MessagePack of a value.
---@param value any
---@param opts? asyncio.PackOptions
---@return string
function parsers.pack(value, opts) end

--- The value that begins at byte i, and where what is behind it does.
---@param bytes string
---@param i? integer (1)
---@param opts? asyncio.PackOptions
---@return any value
---@return integer next
function parsers.unpack(bytes, i, opts) end

return parsers
