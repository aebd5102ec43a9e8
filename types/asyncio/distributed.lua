---@meta asyncio.distributed
-- Annotations for the Lua language server: work for many machines.

---@class asyncio.distributed
---@field JobFailed asyncio.JobFailed
---@field JobLost asyncio.JobLost
---@field ResultExpired asyncio.ResultExpired
local distributed = {}

--- The workers that ran a job died, or stalled, too often.
---@class asyncio.JobFailed : asyncio.Error
---@field attempts integer
---@field errors any[] what became of them
---@overload fun(message?: string|table): asyncio.JobFailed

--- Redis has lost the job.
---@class asyncio.JobLost : asyncio.Error
---@overload fun(message?: string|table): asyncio.JobLost

--- There is no such job any more.
---@class asyncio.ResultExpired : asyncio.Error
---@overload fun(message?: string|table): asyncio.ResultExpired

---@class asyncio.DistributedExecutorOptions
---@field url string redis://, rediss:// or unix://
---@field queue? string ("default")
---@field lease? number seconds without a sign of life after which a worker is taken for dead (30)
---@field max_attempts? integer how many workers may die, or stall, over a job (3)
---@field result_ttl? number seconds for which results are kept (3600)
---@field max_queue? integer how many jobs the queue may have before submit waits (no limit)
---@field connect_timeout? number seconds that submit waits for Redis (10)
---@field retries? integer how often a job is tried again after an error, if it doesn't say (0)
---@field retry_delay? number seconds before the first retry, at most (1)
---@field max_retry_delay? number seconds before a later one, at most (60)
---@field timeout? number seconds that an attempt may take, if the job doesn't say (no limit)

---@class asyncio.SubmitOptions
---@field [integer] any the function, or its name, and its arguments
---@field n? integer how many these are, with nils at the end
---@field key? string while a job with it waits, runs or is kept, that one is joined
---@field delay? number seconds before it may begin (0)
---@field timeout? number seconds that an attempt may take
---@field retries? integer how often it is tried again after an error or a timeout
---@field priority? "high" | "normal" | "low"

---@class asyncio.DistributedStats
---@field queued integer
---@field delayed integer
---@field running integer
---@field dead integer
---@field done integer
---@field failed integer
---@field cancelled integer
---@field workers integer

--- A future's job: what `attach` takes.
---@class asyncio.JobFuture : asyncio.Future
---@field job_id string

---@class asyncio.DistributedExecutor
local DistributedExecutor = {}

---@async
---@param fn string | function | asyncio.SubmitOptions
---@param ... any
---@return asyncio.JobFuture
function DistributedExecutor:submit(fn, ...) end

---@async
---@param fn string | function
---@param list any[]
---@return any[] results with their number `n`
function DistributedExecutor:map(fn, list) end

---@async
---@param id string
---@return asyncio.JobFuture
function DistributedExecutor:attach(id) end

---@async
---@return asyncio.DistributedStats
function DistributedExecutor:stats() end

---@async
---@param opts? { wait?: boolean, cancel_futures?: boolean }
function DistributedExecutor:shutdown(opts) end

---@class asyncio.Job
---@field id string
---@field attempt integer
local Job = {}

---@return boolean
function Job:cancelled() end

---@async
---@param key string
---@param fn fun(again: boolean): ...
---@return any ...
function Job:once(key, fn) end

---@param opts asyncio.DistributedExecutorOptions
---@return asyncio.DistributedExecutor
function distributed.DistributedExecutor(opts) end

---@return asyncio.Job?
function distributed.job() end

return distributed
