---@meta asyncio.testing
-- Annotations for the Lua language server: tests that wait.

---@class asyncio.testing
local testing = {}

---@class asyncio.TestOptions
---@field timeout? number seconds of real time (5)
---@field clock? "real" | "virtual" what the loop's clock is ("real")

---Makes a plain function of one that waits: it runs `fn` in a loop of its own, and fails when `fn` fails
---or takes too long, and when it leaves a task, an open handle, or an error that nobody looked at.
---@param fn fun(...): ...
---@param opts? asyncio.TestOptions
---@return fun(...): ...
function testing.async(fn, opts) end

---Waits until no other task can go on.
---@async
function testing.wait_all_tasks_blocked() end

return testing
