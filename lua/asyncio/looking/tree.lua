--- `asyncio tree PID`: who waits for whom, and where.
-- @module asyncio.looking.tree
local client = require "asyncio.looking.client"

local MOST_ALIKE = 5 -- tasks that stand and wait alike and are told one by one
local MOST_DEPTH = 40 -- levels that are indented

--- By number; who awaits whom the other way round.
local function linked(tasks)
  local by_number = {}
  for _, task in ipairs(tasks) do by_number[task.number] = task end
  for _, task in ipairs(tasks) do
    if by_number[task.holder] then table.insert(task.awaited, task.holder) end
    task.below = {}
    for _, number in ipairs(task.awaited) do
      local other = by_number[number]
      if other then
        table.insert(task.below, other)
        other.is_awaited = true
      end
    end
  end
  return by_number
end

local function words_of(task, by_number)
  local holder = by_number[task.holder]
  if holder then return ("waits (%s, which '%s' holds)"):format(task.wait, holder.name) end
  return task.wait ~= "" and ("waits (%s)"):format(task.wait) or task.state
end

--- Where it stands, and what it does there.
local function likeness(task, by_number)
  local parts = { words_of(task, by_number) }
  for _, at in ipairs(task.places) do parts[#parts + 1] = at.place end
  return table.concat(parts, "\n")
end

local add_task

--- Of many that are alike and wait for nothing that is told, some.
local function add_all(self, tasks, depth)
  local counts, last = {}, {}
  for _, task in ipairs(tasks) do
    local alike = #task.below == 0 and not self.told[task] and likeness(task, self.by_number)
    if alike then counts[alike] = (counts[alike] or 0) + 1 end
    if not alike or self.all or counts[alike] <= MOST_ALIKE then
      add_task(self, task, depth)
    else
      self.told[task] = true
      last[alike] = task
    end
  end
  for alike, task in pairs(last) do
    local lead = (" "):rep(4 * math.min(depth, MOST_DEPTH))
    local more = counts[alike] - MOST_ALIKE
    self.lines[#self.lines + 1] = ("%s... %d more like '%s': %s%s"):format(lead, more, task.name,
      words_of(task, self.by_number), task.places[1] and " at " .. task.places[1].place or "")
  end
end

function add_task(self, task, depth)
  local lines, indent = self.lines, (" "):rep(4 * math.min(depth, MOST_DEPTH))
  local head = ("%sTask '%s' %s"):format(indent, task.name, words_of(task, self.by_number))
  if self.path[task] then
    lines[#lines + 1] = head .. ": a cycle, it waits for itself"
    return
  elseif self.told[task] then
    lines[#lines + 1] = head .. " (see above)"
    return
  end
  lines[#lines + 1] = head
  for _, at in ipairs(task.places) do
    lines[#lines + 1] = ("%s  %s%s"):format(indent, at.place, at.name ~= "" and ": in " .. at.name or "")
  end
  self.path[task], self.told[task] = true, true
  add_all(self, task.below, depth + 1)
  self.path[task] = nil
end

--- The tree of an answer, as lines.
local function tree_of(answer, all)
  local self = { lines = {}, path = {}, told = {}, all = all, by_number = linked(answer.tasks) }
  table.sort(answer.tasks, function(a, b) return a.number < b.number end)
  local roots = {}
  for _, task in ipairs(answer.tasks) do
    if not task.is_awaited then roots[#roots + 1] = task end
  end
  add_all(self, roots, 0)
  for _, task in ipairs(answer.tasks) do -- what cycles have left
    if not self.told[task] then add_task(self, task, 0) end
  end
  if answer.numbers.more then
    self.lines[#self.lines + 1] = ("and %d tasks that are not told"):format(answer.numbers.more)
  end
  return self.lines
end

local function print_lines(lines)
  for _, line in ipairs(lines) do io.stdout:write(line, "\n") end
end

--- The tasks that can never wake, where they stand.
local function print_leaks(connection, number)
  local tasks, by_number = client.parse(connection:ask(("leaks %d"):format(number))).tasks, {}
  io.stdout:write(("%d task%s can never wake: nobody else can reach what they wait for\n"):format(#tasks,
    #tasks == 1 and "" or "s"))
  for _, task in ipairs(tasks) do
    local self = { lines = {}, path = {}, told = {}, by_number = by_number }
    task.below = {}
    add_task(self, task, 0)
    print_lines(self.lines)
  end
end

local function print_tree(connection, number, all)
  local answer = client.parse(connection:ask(("tree %d"):format(number)))
  local n = #answer.tasks + (answer.numbers.more or 0)
  io.stdout:write(("%d task%s\n"):format(n, n == 1 and "" or "s"))
  print_lines(tree_of(answer, all))
end

local function main(name, options)
  local connection <close> = client.connect(client.find(name))
  local loops = connection:loops()
  for _, number in ipairs(loops) do
    if #loops > 1 then io.stdout:write(("loop %d: "):format(number)) end
    if options.leaks then print_leaks(connection, number) else print_tree(connection, number, options.all) end
  end
end

return function(name, options) return client.run(main, name, options) end
