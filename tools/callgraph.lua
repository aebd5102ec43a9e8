-- callgraph.lua [-v] - who calls whom among the files of src/? Says so where files call each other in a circle, and
-- where a function has more than 60 lines, is visible for nothing, or has a wrong name: what other files see is an
-- asy_x if it takes or gives a lua_State, and noun_verb if it is pure C. What stands in a header belongs to the
-- header's noun: core/waitq.h and core/waitq.c are both core/waitq. Where a noun's verbs have files of their own
-- (core/task.h: core/park.c, ...), what its header defines is taken for a part of who uses it.
-- -v: every arrow from file to file.
-- tools/circles.txt lists the circles that are still allowed, one a line, as the nouns in it.
package.path = arg[0]:match "^(.*)/[^/]*$" .. "/?.lua;" .. package.path
local house = require "house"

local MAX_LINES = 60

local function noun(file) return (file:gsub("^src/", ""):gsub("%.[ch]$", "")) end

--- The definitions of all files; those that other files see, by name; those of each file.
local function read_all()
  local all, shared, own = {}, {}, {}
  local files, is_file = house.files("src", "*.[ch]"), {}
  for _, file in ipairs(files) do is_file[file] = true end
  for _, file in ipairs(files) do
    own[file] = {}
    for _, def in ipairs(house.definitions(file)) do
      if def.name then
        def.file, def.noun = file, noun(file)
        def.is_nobodys = file:find "%.h$" and not is_file[file:gsub("h$", "c")]
        all[#all + 1] = def
        own[file][def.name] = def
        if not def.is_static then shared[def.name] = def end
      end
    end
  end
  return all, shared, own
end

--- noun → noun → { "user uses name", ... }
local function arrows(all, shared, own)
  local graph = {}
  for _, def in ipairs(all) do
    graph[def.noun] = graph[def.noun] or {}
    local function follow(user, by, seen)
      local names = house.names_in(user.body)
      for _, name in ipairs(house.sorted_keys(names)) do
        local target = names[name] and (own[user.file][name] or shared[name])
        if target and not seen[target] then
          seen[target] = true
          if target.is_nobodys then
            follow(target, by .. " by " .. name, seen)
          elseif target.noun ~= def.noun then
            local ties = graph[def.noun][target.noun] or {}
            graph[def.noun][target.noun] = ties
            ties[#ties + 1] = ("%s uses %s%s"):format(def.name, name, by)
          end
        end
      end
    end
    if not def.is_nobodys then follow(def, "", { [def] = true }) end
  end
  return graph
end

--- The circles: sets of nouns each of which leads to all others (Tarjan's).
local function circles_of(graph)
  local index, low, stack, on_stack, count, found = {}, {}, {}, {}, 0, {}
  local function visit(v)
    count = count + 1
    index[v], low[v] = count, count
    stack[#stack + 1], on_stack[v] = v, true
    for _, w in ipairs(house.sorted_keys(graph[v] or {})) do
      if not index[w] then
        visit(w)
        low[v] = math.min(low[v], low[w])
      elseif on_stack[w] then
        low[v] = math.min(low[v], index[w])
      end
    end
    if low[v] ~= index[v] then return end
    local circle = {}
    repeat
      local w = table.remove(stack)
      on_stack[w] = nil
      circle[#circle + 1], circle[w] = w, true
    until w == v
    table.sort(circle)
    if #circle > 1 then found[#found + 1] = circle end
  end
  for _, v in ipairs(house.sorted_keys(graph)) do
    if not index[v] then visit(v) end
  end
  return found
end

local function allowed_circles()
  local list = {}
  for line in io.lines "tools/circles.txt" do
    local nouns = {}
    for word in line:gsub("#.*", ""):gmatch "%S+" do nouns[word] = true end
    if next(nouns) then list[#list + 1] = { line = line, nouns = nouns } end
  end
  return list
end

--- Whether all of the circle is in one that is allowed; which is marked.
local function is_allowed(circle, allowed)
  for _, entry in ipairs(allowed) do
    local all = true
    for _, name in ipairs(circle) do all = all and entry.nouns[name] end
    if all then
      entry.found = true
      return true
    end
  end
end

local function tell_arrow(from, to, ties)
  table.sort(ties)
  print(("  %s -> %s: %s"):format(from, to, table.concat(ties, ", ")))
end

local all, shared, own = read_all()
local graph, bad = arrows(all, shared, own), false

if arg[1] == "-v" then
  for _, from in ipairs(house.sorted_keys(graph)) do
    for _, to in ipairs(house.sorted_keys(graph[from])) do tell_arrow(from, to, graph[from][to]) end
  end
end

local allowed = allowed_circles()
for _, circle in ipairs(circles_of(graph)) do
  if not is_allowed(circle, allowed) then
    bad = true
    print("a circle of " .. table.concat(circle, ", ") .. ":")
    for _, from in ipairs(circle) do
      for _, to in ipairs(house.sorted_keys(graph[from])) do
        if circle[to] then tell_arrow(from, to, graph[from][to]) end
      end
    end
  end
end
for _, entry in ipairs(allowed) do
  if not entry.found then
    bad = true
    print("tools/circles.txt: this circle is open, take out its line: " .. entry.line)
  end
end

--- The names that each file uses, tools that link with the sources with them.
local used_in = {}
local function uses(file, names)
  for name in pairs(names) do
    used_in[name] = used_in[name] or {}
    used_in[name][file] = true
  end
end
for _, def in ipairs(all) do uses(def.file, house.names_in(def.body)) end
for _, file in ipairs(house.files("tools", "*.c")) do uses(file, house.names_in(house.read(file))) end

--- Whether a header offers what nobody takes.
local function is_unused(def)
  if def.is_static or not def.is_function or def.name:find "^luaopen_" or def.file:find "%.h$" then return false end
  local files = used_in[def.name]
  return not next(files, next(files) == def.file and def.file or nil)
end

local function is_misnamed(def)
  if def.is_static or not def.is_function or def.name:find "^luaopen_" then return false end
  local knows_lua = def.body:match "^[^{]*":find "%f[%w_]lua_State%f[^%w_]" ~= nil
  return knows_lua ~= (def.name:find "^asy_" ~= nil)
end

for _, def in ipairs(all) do
  if is_unused(def) then
    bad = true
    print(("%s:%d: %s is used in this file only: static"):format(def.file, def.line, def.name))
  end
  if is_misnamed(def) then
    bad = true
    print(("%s:%d: %s: asy_x is what takes or gives a lua_State, noun_verb what doesn't"):format(def.file, def.line,
      def.name))
  end
  if def.is_function and def.lines > MAX_LINES then
    bad = true
    print(("%s:%d: %s has %d lines, more than %d"):format(def.file, def.line, def.name, def.lines, MAX_LINES))
  end
end
os.exit(not bad)
