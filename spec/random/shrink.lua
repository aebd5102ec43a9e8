--- Leaves statements out of a program as long as it still fails.
local RUNS, SECONDS = 150, 60 -- at most

--- A list less the part from `from` on, of that size; and that part.
local function less(list, from, size)
  local rest = {}
  for i, id in ipairs(list) do
    if i < from or i >= from + size then rest[#rest + 1] = id end
  end
  return rest
end

--- fails(only) runs it with the statements of a list and says whether it fails in the same way.
-- Returns the list of those that are left of `count` statements.
return function(count, fails)
  local kept, runs, deadline = {}, 0, os.time() + SECONDS
  local function goes_on() return runs < RUNS and os.time() < deadline end
  for id = 1, count do kept[id] = id end
  local size = count // 2
  while size >= 1 and goes_on() do
    local from, smaller = 1, false
    while from <= #kept and goes_on() do
      local rest = less(kept, from, size)
      runs = runs + 1
      if fails(rest) then
        kept, smaller = rest, true
      else
        from = from + size
      end
    end
    if size > 1 or not smaller then size = size // 2 end
  end
  return kept
end
