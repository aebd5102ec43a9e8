--- The call graph: who awaits whom, and where.
-- @module asyncio.graph
local check = require "asyncio.check"
local core = require "asyncio.core"

local graph = {}

local MAX_DEPTH = 40 -- levels of the tree; of what stands below them the innermost tasks are told
local MAX_INNERMOST = 10

--- What a task waits for: in words, and the futures and tasks that could wake it.
local function inspect(task, by_number)
  local kind, awaited, owner = core.task_wait(task)
  if not kind then return nil, {} end
  if awaited then
    local several, pending = type(awaited) == "table", {}
    for _, part in ipairs(several and awaited or { awaited }) do
      if not part:done() then pending[#pending + 1] = part end
    end
    return kind == "stop" and "stops" or several and "waits for several" or "awaits", pending
  end
  local holder = owner and by_number[owner]
  if holder then return ("waits (%s, which '%s' holds)"):format(kind, holder:get_name()), { holder } end
  return ("waits (%s)"):format(kind), {}
end

--- Everything about the tasks that live: their edges, and who awaits whom the other way round.
local function survey(tasks)
  local nodes, by_number = {}, {}
  for _, task in ipairs(tasks) do by_number[select(4, core.task_wait(task))] = task end
  for _, task in ipairs(tasks) do
    local words, awaited = inspect(task, by_number)
    nodes[task] = { words = words, awaited = awaited, awaiters = {} }
  end
  for _, task in ipairs(tasks) do
    for _, other in ipairs(nodes[task].awaited) do
      if nodes[other] then table.insert(nodes[other].awaiters, task) end
    end
  end
  return nodes
end

local function name_of(future)
  if future.get_name then return ("Task '%s'"):format(future:get_name()) end
  return tostring(future)
end

local function state_of(task, node)
  if node.words then return node.words end
  return tostring(task):match("^: (%a+)", #"asyncio.Task ''" + #task:get_name() + 1)
end

local HERE = select(2, pcall(function() error "" end)):match "^(.*):%d+: $" -- `debug` may be missing

--- The lines "file:line: in function ..." of where it stands, innermost first.
local function add_frames(lines, task, depth)
  for line in (task:traceback() or ""):gmatch "\n\t([^\n]+)" do
    if not line:find "^%[C%]" and not line:find "^%(?%.%.%." and line:sub(1, #HERE + 1) ~= HERE .. ":" then
      lines[#lines + 1] = (" "):rep(4 * depth + 4) .. line
    end
  end
end

--- What stands below a task and has not been told yet, each once: counted now, and perhaps told elsewhere.
local function all_below(task, nodes, told)
  local found = {}
  local function add(list)
    for _, other in ipairs(list) do
      if not told[other] then
        told[other] = "counted"
        found[#found + 1] = other
      end
    end
  end
  add(nodes[task].awaited)
  local i = 1
  while found[i] do
    if nodes[found[i]] then add(nodes[found[i]].awaited) end
    i = i + 1
  end
  return found
end

--- Whether nothing stands below it that isn't told anyway: it sleeps, say, or closes a cycle.
local function is_innermost(task, nodes, path)
  local awaited = nodes[task] and nodes[task].awaited or {}
  for _, other in ipairs(awaited) do
    if path[other] then return true end
  end
  return #awaited == 0
end

local add_task

--- Where the tree is too deep: how many more there are, and the innermost of them, for which the others wait.
local function add_rest(lines, task, nodes, depth, path, told)
  local below, innermost = all_below(task, nodes, told), {}
  for _, other in ipairs(below) do
    if #innermost < MAX_INNERMOST and is_innermost(other, nodes, path) then
      innermost[#innermost + 1] = other
    end
  end
  if #innermost == 0 then innermost[1] = below[#below] end
  local more = #below - #innermost
  if more > 0 then lines[#lines + 1] = ("%s- ... %d more"):format((" "):rep(4 * depth - 2), more) end
  for _, other in ipairs(innermost) do add_task(lines, other, nodes, depth, path, told) end
end

--- Adds a task and, below it, what it awaits. path: the tasks above it; told: those told at length.
function add_task(lines, task, nodes, depth, path, told)
  local node = nodes[task]
  local lead = depth > 0 and (" "):rep(4 * depth - 2) .. "- " or ""
  if not node then -- a plain future
    lines[#lines + 1] = lead .. name_of(task)
    return
  end
  local head = ("%s%s %s"):format(lead, name_of(task), state_of(task, node))
  if path[task] then
    lines[#lines + 1] = head .. ": a cycle, it waits for itself"
    return
  elseif told[task] == true then
    lines[#lines + 1] = head .. " (see above)"
    return
  end
  lines[#lines + 1] = head
  add_frames(lines, task, depth)
  path[task], told[task] = true, true
  for _, other in ipairs(node.awaited) do
    if depth < MAX_DEPTH or told[other] == true then add_task(lines, other, nodes, depth + 1, path, told) end
  end
  if depth >= MAX_DEPTH then add_rest(lines, task, nodes, depth + 1, path, told) end
  path[task] = nil
end

local function all_tasks(loop)
  local tasks = core.all_tasks(loop)
  table.sort(tasks, function(a, b) return select(4, core.task_wait(a)) < select(4, core.task_wait(b)) end)
  return tasks
end

local function format_all(tasks, nodes)
  local lines, told = {}, {}
  for _, task in ipairs(tasks) do -- those that nobody awaits, first; then what cycles have left
    if #nodes[task].awaiters == 0 then add_task(lines, task, nodes, 0, {}, told) end
  end
  for _, task in ipairs(tasks) do
    if not told[task] then add_task(lines, task, nodes, 0, {}, told) end
  end
  return table.concat(lines, "\n")
end

local function format_one(task, nodes)
  local lines = {}
  add_task(lines, task, nodes, 0, {}, {})
  local node = nodes[task]
  for _, awaiter in ipairs(node and node.awaiters or {}) do
    lines[#lines + 1] = "awaited by " .. name_of(awaiter)
  end
  return table.concat(lines, "\n")
end

local EXPECTED = 'task or "all"'

-- Every task of a loop, which need not run.
function graph.of_loop(loop)
  local tasks = all_tasks(loop)
  return format_all(tasks, survey(tasks))
end

local MOST_LINES = 200 -- of an error's text

-- In the words of a DeadlockError.
core.on_deadlock(function(loop)
  local text = graph.of_loop(loop)
  local from, n = 0, 0
  repeat
    from, n = text:find("\n", from + 1, true), n + 1
  until not from or n == MOST_LINES
  if not from then return text end
  return ("%s\n... %d more lines"):format(text:sub(1, from - 1), select(2, text:sub(from):gsub("\n", "")))
end)

--- The first place "file:line" of a traceback that is neither C's nor ours.
local function first_place(traceback)
  for place in (traceback or ""):gmatch "\n\t([^\n]-:%d+): in" do
    local ours = place:match "asyncio/(%l+)%.lua:%d+$"
    if not (ours and package.loaded["asyncio." .. ours]) then return place end
  end
end

-- Where a task waits, for a person: in words, and the tracebacks of what it awaits and its own, the innermost
-- first. nil when it waits for nothing.
function graph.waiting(task)
  local kind, future = core.task_wait(task)
  if not kind then return nil end
  local place, known = first_place(task:traceback()), { [task] = true }
  local words = ("(%s)%s"):format(kind, place and " at " .. place or "")
  local text = task:traceback()
  while future and future.get_name and not known[future] and not future:done() do
    known[future] = true
    text = ("%s\n'%s' awaits it:\n%s"):format(future:traceback(), task:get_name(), text)
    task = future
    future = select(2, core.task_wait(task))
  end
  return words, text
end

--- Who awaits whom, as text: each task with the places where it stands, and below it what it awaits.
-- Cycles are marked. A task that waits for a lock waits for the one that holds it.
-- @param[opt] what a Task; `"all"`: every task of the running loop; nil: the running task, or all
-- @treturn string
-- @usage
-- local event = asyncio.Event()
-- local task = asyncio.create_task { function() event:wait() end, name = "sleeper" }
-- asyncio.sleep(0)
-- print((asyncio.format_call_graph(task):match "[^\n]*")) --> Task 'sleeper' waits (event)
-- event:set()
-- asyncio.await(task)
function graph.format_call_graph(what)
  local is_task = core.isfuture(what)
  if what ~= nil and what ~= "all" and not is_task then check.fail(1, "format_call_graph", EXPECTED, what) end
  local loop = is_task and what:get_loop() or core.get_running_loop()
  local tasks = all_tasks(loop)
  local nodes = survey(tasks)
  if what == nil then what = core.current_task() or "all" end
  if what == "all" then
    return ("%d task%s\n%s"):format(#tasks, #tasks == 1 and "" or "s", format_all(tasks, nodes))
  end
  return nodes[what] and format_one(what, nodes) or tostring(what)
end

--- Prints it.
-- @param[opt] what as for `format_call_graph`
function graph.print_call_graph(what)
  if what ~= nil and what ~= "all" and not core.isfuture(what) then
    check.fail(1, "print_call_graph", EXPECTED, what)
  end
  print(graph.format_call_graph(what))
end

return graph
