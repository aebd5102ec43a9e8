---@meta asyncio.compat
-- Annotations for the Lua language server: programs that were written for other libraries.

---@class asyncio.compat
---@field copas table copas 4.11's interface
---@field vim_async asyncio.compat.vim_async
---@field socket asyncio.socket
local compat = {}

---@async
---@param name string
---@return any module
---@return string? origin
function compat.require(name) end

---@async
---@param path string
---@param ... any
---@return any ...
function compat.dofile(path, ...) end

function compat.install() end

---@class asyncio.compat.vim_async
local vim_async = {}

---A call that goes on by itself, and the owner of those that are made in it.
---@class asyncio.VimTask
---@field name string?
local VimTask = {}

---@param name string | fun(...): any
---@param fn? any the function, or its first argument
---@param ... any
---@return asyncio.VimTask
function vim_async.run(name, fn, ...) end

---@async
---@param x asyncio.VimTask | asyncio.Future | integer | fun(callback: fun(...)): any
---@param fn? function
---@param ... any
---@return any ...
function vim_async.await(x, fn, ...) end

---@async
---@param x asyncio.VimTask | asyncio.Future | integer | fun(callback: fun(...)): any
---@param fn? function
---@param ... any
---@return boolean ok
---@return any ...
function vim_async.pawait(x, fn, ...) end

---@async
function vim_async.checkpoint() end

---@return boolean
function vim_async.is_closing() end

---@param task asyncio.VimTask
---@return boolean
function vim_async.completed(task) end

---@param argc integer
---@param fn function
---@return async fun(...): any
function vim_async.wrap(argc, fn) end

---@async
---@param ms number
function vim_async.sleep(ms) end

---@async
---@param ms number
---@param task asyncio.VimTask
---@return any ...
function vim_async.timeout(ms, task) end

---@param list asyncio.VimTask[]
---@return async fun(): asyncio.VimTask?
---@return nil
---@return nil
---@return any
function vim_async.iter(list) end

---@class asyncio.VimSemaphore
local VimSemaphore = {}

---@param permits? integer (1)
---@return asyncio.VimSemaphore
function vim_async.semaphore(permits) end

---@async
function VimSemaphore:acquire() end

function VimSemaphore:release() end

---@async
---@param fn async fun(): any
---@return any ...
function VimSemaphore:with(fn) end

---@class asyncio.VimHooks
---@field wait? fun(ms: number, predicate: fun(): boolean): boolean
---@field schedule? fun(fn: fun())
---@field new_timer? fun(): any
---@field debug? boolean

---@param opts asyncio.VimHooks
function vim_async.config(opts) end

---@async
---@param ms? number
---@return any ...
function VimTask:wait(ms) end

---@async
---@param ms? number
---@return boolean ok
---@return any ...
function VimTask:pwait(ms) end

---@param callback? fun()
function VimTask:close(callback) end

---@return asyncio.VimTask
function VimTask:detach() end

---@param callback fun(err: any, ...)
---@return fun() unsubscribe
function VimTask:on_complete(callback) end

---@return boolean
function VimTask:completed() end

---@return "running" | "normal" | "awaiting" | "completed"
function VimTask:status() end

---@param message? string
---@return string
function VimTask:traceback(message) end

---@return asyncio.VimTask
function VimTask:raise_on_error() end

return compat
