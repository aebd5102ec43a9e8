--- Random numbers that are the same on every machine: xorshift64*, seeded by splitmix64.
local Random = {}
Random.__index = Random

local function new(seed)
  local z = seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  z = z ~ (z >> 31)
  return setmetatable({ state = z ~= 0 and z or 1 }, Random)
end

--- An integer from `low` to `high`.
function Random:int(low, high)
  local x = self.state
  x = x ~ (x >> 12)
  x = x ~ (x << 25)
  x = x ~ (x >> 27)
  self.state = x
  return low + ((x * 0x2545F4914F6CDD1D) >> 33) % (high - low + 1)
end

--- True so many times in a hundred.
function Random:chance(percent) return self:int(1, 100) <= percent end

function Random:one_of(list) return list[self:int(1, #list)] end

--- One of `{name, weight, name, weight, …}`.
function Random:weighted(list)
  local total = 0
  for i = 2, #list, 2 do total = total + list[i] end
  local left = self:int(1, total)
  for i = 2, #list, 2 do
    left = left - list[i]
    if left <= 0 then return list[i - 1] end
  end
end

--- Another generator, which goes its own way from here.
function Random:fork() return new(self:int(0, 0x3fffffff)) end

return new
