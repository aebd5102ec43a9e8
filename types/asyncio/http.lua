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

return http
