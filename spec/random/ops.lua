--- Which statements there are: the sets that a program of one mode, less what is left out, is made of.
--
-- A statement is data: `{id=, op=, a=, b=, c=, catch=, block, …}`, where a, b and c choose objects and values. An
-- op is what it does: `{name, weight, run(env, s, object)}` and, where they hold,
--   quick   it never waits: callbacks and finalisers may do it, too
--   on      the kind of object that `a` chooses; without one the statement does nothing
--   bodies  the blocks that it has, "task" or "quick" each
local SETS = {
  virtual = { "tasks", "futures", "sync", "loop", "coroutines", "garbage" },
  real = { "tasks", "futures", "sync", "loop", "coroutines", "garbage", "streams", "threads", "descriptors" },
}
local REAL_FAVOURS = { streams = 4, threads = 3, descriptors = 2 } -- else they drown in what needs no system

local by_name, of_set = {}, {}

for _, name in ipairs(SETS.real) do
  of_set[name] = require("random." .. name)
  for _, op in ipairs(of_set[name]) do
    op.name, op.weight = op[1], op[2]
    assert(not by_name[op.name], op.name)
    by_name[op.name] = op
  end
end

--- Two lists to draw from, in which each op stands as often as it weighs: all, and those that never wait.
local function to_draw(mode, skip)
  local all, quick = {}, {}
  for _, name in ipairs(SETS[mode]) do
    for _, op in ipairs(skip[name] and {} or of_set[name]) do
      for _ = 1, op.weight * (mode == "real" and REAL_FAVOURS[name] or 1) do
        all[#all + 1] = op
        if op.quick then quick[#quick + 1] = op end
      end
    end
  end
  return all, quick
end

return { by_name = by_name, to_draw = to_draw }
