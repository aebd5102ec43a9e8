--- main.lua [SUBJECT...] - public calls, cancelled at random moments (engine.lua says how); `make random` calls it.
-- RANDOM_CALLS (10000): rounds of each case; RANDOM_FROM: the first seed, else CHECK_SEED or the clock says;
-- CALL=pattern: only the cases whose name has it.
-- The last line is "N passed, N failed, N skipped", of rounds; the exit status is 1 when one failed.
local here = arg[0]:match "^(.*)/calls/[^/]*$" or "spec"
package.path = ("%s/?.lua;%s"):format(here, package.path)
local engine = require "calls.engine"

local rounds = math.tointeger(os.getenv "RANDOM_CALLS" or 10000)
local first = math.tointeger(os.getenv "RANDOM_FROM") or
  math.tointeger(os.getenv "CHECK_SEED" or os.time()) % 1000000 * 1000
local wanted = os.getenv "CALL"

local passed, failed = 0, 0
for _, subject in ipairs(#arg > 0 and arg or engine.subjects()) do
  for _, case in ipairs(require("calls." .. subject)) do
    if not wanted or case[1]:find(wanted) then
      local ways, err = engine.run(case, rounds, first)
      if ways then
        passed = passed + rounds
        print(("ok   %s: %d cancelled, %d failed, %d ended"):format(case[1], ways.cancelled, ways.failed, ways.ended))
      else
        failed = failed + 1
        print("FAIL " .. err)
      end
      io.stdout:flush()
    end
  end
end
print(("%d passed, %d failed, 0 skipped"):format(passed, failed))
os.exit(failed == 0, true)
