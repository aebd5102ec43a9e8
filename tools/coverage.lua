-- coverage.lua FLOOR <what gcov -b -n prints - lines and branches of each source, the least covered
-- first, and of all; fails when less than FLOOR percent of the lines were run.
local floor = tonumber(arg[1])

-- gcov says a percentage with two digits, and of how many: whole numbers again.
local function count(percent, n) return math.floor(percent / 100 * n + 0.5) end

local files, file = {}, nil
for line in io.lines() do
  local name = line:match "^File '(.*)'$"
  if name then
    file = { name = name, lines = 0, of_lines = 0, branches = 0, of_branches = 0 }
    if name:find "^src/" then files[#files + 1] = file end
  elseif file then
    local percent, n = line:match "^Lines executed:([%d.]+)%% of (%d+)$"
    if percent and file.of_lines > 0 then -- the line at the end, of all
      file = nil
      goto continue
    end
    if percent then file.lines, file.of_lines = count(percent, n), n // 1 end
    percent, n = line:match "^Taken at least once:([%d.]+)%% of (%d+)$"
    if percent then file.branches, file.of_branches = count(percent, n), n // 1 end
  end
  ::continue::
end

local seen = {}
for _, each in ipairs(files) do seen[each.name] = true end
for name in io.popen("find src -name '*.c'"):lines() do
  if not seen[name] then error("gcov has not seen " .. name) end
end

local function share(part, of) return of == 0 and 100 or 100 * part / of end

local total = { name = "all", lines = 0, of_lines = 0, branches = 0, of_branches = 0 }
for _, each in ipairs(files) do
  for key, n in pairs(each) do
    if key ~= "name" then total[key] = total[key] + n end
  end
end
table.sort(files, function(a, b)
  local x, y = share(a.lines, a.of_lines), share(b.lines, b.of_lines)
  if x ~= y then return x < y end
  return a.name < b.name
end)
files[#files + 1] = total

print "                              lines             branches taken"
for _, each in ipairs(files) do
  print(("%-24s %6.1f %% of %5d   %6.1f %% of %5d"):format(each.name,
    share(each.lines, each.of_lines), each.of_lines,
    share(each.branches, each.of_branches), each.of_branches))
end
if total.of_lines == 0 then error "gcov has seen no source" end
if share(total.lines, total.of_lines) < floor then
  print(("FAIL less than %g %% of the lines"):format(floor))
  os.exit(1)
end
