--- The standard coroutine library as it was before `compat.install`, for what must not be driven.
-- @module asyncio.compat.standard
local kept = {}
for name, fn in pairs(coroutine) do kept[name] = fn end

return { coroutine = kept }
