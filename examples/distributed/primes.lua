-- primes.lua - what workers know how to do: the module that they are told on their command line.
local primes = {}

local function is_prime(n)
  if n < 2 then return false end
  for d = 2, math.floor(math.sqrt(n)) do
    if n % d == 0 then return false end
  end
  return true
end

--- How many primes there are from `first` to `last`.
function primes.count(first, last)
  local n = 0
  for i = first, last do
    if is_prime(i) then n = n + 1 end
  end
  return n
end

function primes.count_to(last) return primes.count(1, last) end

return primes
