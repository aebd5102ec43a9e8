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

--- fails(without) runs it without the statements of a list and says whether it fails in the same way.
-- Returns the list of what can be left out of `count` statements.
return function(count, fails)
  local kept, runs, deadline = {}, 0, os.time() + SECONDS
  local function goes_on() return runs < RUNS and os.time() < deadline end
  for id = 1, count do kept[id] = id end
  local function without(rest)
    local is_kept, list = {}, {}
    for _, id in ipairs(rest) do is_kept[id] = true end
    for id = 1, count do
      if not is_kept[id] then list[#list + 1] = id end
    end
    return list
  end
  local size = count // 2
  while size >= 1 and goes_on() do
    local from, smaller = 1, false
    while from <= #kept and goes_on() do
      local rest = less(kept, from, size)
      runs = runs + 1
      if fails(without(rest)) then
        kept, smaller = rest, true
      else
        from = from + size
      end
    end
    if size > 1 or not smaller then size = size // 2 end
  end
  return without(kept), #kept
end
