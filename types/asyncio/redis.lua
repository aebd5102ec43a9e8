---@meta asyncio.redis
-- Annotations for the Lua language server: Redis.

---@class asyncio.redis
---@field RedisError asyncio.RedisError
---@field WatchError asyncio.WatchError
local redis = {}

--- An error that the server has answered with.
---@class asyncio.RedisError : asyncio.Error
---@field code string its first word, "ERR" where that is none
---@field errors? asyncio.RedisError[] of a transaction that was refused: which commands the server won't have
---@overload fun(message?: string|table): asyncio.RedisError

---@class asyncio.WatchError : asyncio.RedisError
---@field attempts integer
---@overload fun(message?: string|table): asyncio.WatchError

---@class asyncio.RedisOptions
---@field host? string ("127.0.0.1")
---@field port? integer (6379)
---@field path? string a unix socket, in place of host and port
---@field username? string
---@field password? string
---@field db? integer (0)
---@field client_name? string as CLIENT LIST shows it
---@field protocol? integer 3; 2: lists in place of maps
---@field ssl? boolean | asyncio.SSLContext
---@field server_hostname? string (host)
---@field connect_timeout? number seconds: for connecting, and for waiting until one is connected again (10)
---@field timeout? number seconds without a byte while answers are owed (30)
---@field max_connections? integer for what blocks or watches (100)

---@class asyncio.TransactionOptions
---@field watch? string[] keys
---@field attempts? integer (10)

---@class asyncio.SubscribeOptions
---@field channels? string[]
---@field patterns? string[]

---@alias asyncio.RedisArgument string | number

--- It has a method for every command: `p:set(k, v)`.
---@class asyncio.RedisPipeline
---@field [string] fun(self: asyncio.RedisPipeline, ...: asyncio.RedisArgument)
local RedisPipeline = {}

---@param command string
---@param ... asyncio.RedisArgument
function RedisPipeline:call(command, ...) end

--- It has a method for every command: `client:set(k, v)`.
---@class asyncio.RedisClient
---@field [string] fun(self: asyncio.RedisClient, ...: asyncio.RedisArgument): any
local RedisClient = {}

---@async
---@param command string
---@param ... asyncio.RedisArgument
---@return any
function RedisClient:call(command, ...) end

---@async
---@param fn fun(p: asyncio.RedisPipeline)
---@return table
function RedisClient:pipeline(fn) end

---@async
---@param fn fun(p: asyncio.RedisPipeline)
---@param opts? asyncio.TransactionOptions
---@return table
function RedisClient:transaction(fn, opts) end

---@param lua string
---@return async fun(keys: asyncio.RedisArgument[], ...: asyncio.RedisArgument): any
function RedisClient:script(lua) end

---@async
---@param opts asyncio.SubscribeOptions
---@return asyncio.RedisSubscription
---@return nil
---@return nil
---@return asyncio.RedisSubscription
function RedisClient:subscribe(opts) end

function RedisClient:close() end

--- Called, the next event: kind, channel, data, pattern; nil when it has been closed.
---@class asyncio.RedisSubscription
---@operator call: string?
local RedisSubscription = {}

function RedisSubscription:close() end

---@async
---@param where? string | asyncio.RedisOptions a URL: redis:// rediss:// unix://
---@param opts? asyncio.RedisOptions beside a URL
---@return asyncio.RedisClient
function redis.connect(where, opts) end

return redis
