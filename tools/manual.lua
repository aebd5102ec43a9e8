-- manual.lua FOLDER [FILE...] - the reference: one file for each page, with LDoc's tags, made of the comments in those
-- sources, or in all of ours. tools/site makes the manual of it.
-- It is run in the project's folder.
-- Only what is public is taken, and under its public name: the module asyncio in the order of
-- lua/asyncio/init.lua, each class on a page of its own.
--
-- A block is public when its name is: from `@function NAME`, `@type CLASS`, or the definition below it.
-- "Queue:get" belongs to the class Queue, "testing.async" to the module asyncio.testing, as all of testing.lua does.
package.path = arg[0]:match "^(.*)/[^/]*$" .. "/?.lua;" .. package.path
local house = require "house"

local INTERNAL = {
  check = true, command = true, completion = true, console = true, home = true, libssl = true, securing = true,
  show = true, sockets = true, terminal = true, ["looking/"] = true, ["page/"] = true,
  ["redis/commands"] = true, ["redis/connection"] = true, ["redis/errors"] = true, ["redis/opening"] = true,
  ["redis/settings"] = true, ["redis/sharing"] = true, ["redis/words"] = true,
  ["http/bodies"] = true, ["http/connections"] = true, ["http/exchange"] = true, ["http/plans"] = true,
  ["http/targets"] = true, ["http/unpacking"] = true,
  ["distributed/answers"] = true, ["distributed/command"] = true, ["distributed/crossing"] = true,
  ["distributed/errors"] = true, ["distributed/keeper"] = true, ["distributed/keys"] = true,
  ["distributed/link"] = true, ["distributed/running"] = true, ["distributed/scripts"] = true,
  ["distributed/serving"] = true, ["distributed/storing"] = true, ["distributed/worker"] = true,
}

-- Whose functions are not also asyncio's
local MODULES = {
  testing = true, ssl = true, fs = true, http = true, redis = true, distributed = true, parsers = true,
  vim_async = true,
}

-- Blocks: lists of lines without their comment marks

local function blocks_of(name, mark)
  local blocks, block, n = {}, nil, 0
  local first, more = ("^%s%s (.*)"):format(mark, mark:sub(-2)), ("^%s ?(.*)"):format(mark)
  for line in io.lines(name) do
    n = n + 1
    local begins = line:match(first)
    if begins then
      block = { begins, source = ("%s:%d"):format(name, n) }
      blocks[#blocks + 1] = block
    elseif block and line:match(more) then
      block[#block + 1] = line:match(more)
    elseif block then
      block.code, block = line, nil
    end
  end
  return blocks
end

--- The value of a tag, "" if it has none; nil without the tag.
local function tag_of(block, tag)
  for _, line in ipairs(block) do
    local value = line:match("^@" .. tag .. "%f[^%w](.*)$")
    if value then return value:match "^%s*(.-)%s*$" end
  end
end

--- The public name of what a block is about; nil when it is ours.
local function name_of(block, file)
  local name = tag_of(block, "function") or tag_of(block, "type")
  if name then return name end
  local holder, dot, method = (block.code or ""):match "^function ([%w_]+)([.:])([%w_]+)"
  if not holder or method:find "^_" then return nil end
  if dot == ":" then return holder ~= "Executor" and holder:find "^%u" and holder .. ":" .. method or nil end
  if holder ~= file then return nil end
  return MODULES[file] and file .. "." .. method or method
end

--- Whether a file, "…/redis/words.lua" say, is told not to have what is public: by its name, with its folder's, or all
-- of that.
local function is_internal(path)
  local folder, file = path:match "([%w_]+/)([%w_]+)%.%w+$"
  return INTERNAL[file] or INTERNAL[folder .. file] or INTERNAL[folder]
end

--- All public blocks by their names, and those that describe modules by theirs.
local function read_sources(files)
  local known, modules = {}, {}
  for _, path in ipairs(files) do
    local file, suffix = path:match "([%w_]+)%.(%w+)$"
    for _, block in ipairs(blocks_of(path, suffix == "c" and "%/%/" or "%-%-")) do
      local name, module = name_of(block, file), tag_of(block, "module")
      if module then
        modules[module] = block
      elseif name and not is_internal(path) then
        known[name] = known[name] or {}
        table.insert(known[name], block)
      end
    end
  end
  return known, modules
end

--- The groups of init.lua's tables: { title, name, name, ... }. What is loaded later has the titles of the others.
local function public_groups()
  local groups, by_title, group = {}, {}, nil
  for line in io.lines "lua/asyncio/init.lua" do
    local title, name = line:match "^  %-%- (.*)", line:match "^  ([%w_]+) = "
    if title then
      group = by_title[title]
      if not group then
        group = { title }
        groups[#groups + 1], by_title[title] = group, group
      end
    elseif name and group then
      table.insert(group, name)
    end
  end
  return groups
end

-- Pages

--- Adds a block to the page; `tag` stands in place of its own `@module`, `@function` or `@type`.
local function add_block(page, block, tag)
  for i, line in ipairs(block) do
    local replaced = line:find "^@module" or line:find "^@function" or line:find "^@type"
    if not replaced then page[#page + 1] = (i == 1 and "--- " or "-- ") .. line end
  end
  page[#page + 1] = "-- @source " .. block.source
  page[#page + 1] = "-- " .. tag
  page[#page + 1] = ""
end

local function add_function(page, known, name)
  for i, block in ipairs(known[name]) do
    if not tag_of(block, "type") then
      add_block(page, block, "@function " .. name)
      table.remove(known[name], i)
      return
    end
  end
end

local function save(folder, name, page)
  local file <close> = assert(io.open(("%s/%s.lua"):format(folder, name), "w"))
  file:write(table.concat(page, "\n"), "\n")
end

local function has_function(blocks)
  for _, block in ipairs(blocks or {}) do
    if not tag_of(block, "type") then return true end
  end
  return false
end

local function write_asyncio(folder, known, modules)
  local page = {}
  add_block(page, modules.asyncio, "@module asyncio")
  for n, group in ipairs(public_groups()) do
    local functions = {}
    for i = 2, #group do
      if has_function(known[group[i]]) then functions[#functions + 1] = group[i] end
    end
    if functions[1] then
      local title = group[1]:gsub("^%l", string.upper)
      page[#page + 1] = ("--- %s\n-- @section s%d\n"):format(title, n)
      for _, name in ipairs(functions) do add_function(page, known, name) end
    end
  end
  save(folder, "asyncio", page)
end

--- The modules beside it: the last part of whose names begins the names of functions.
local function write_modules(folder, known, modules)
  for _, module in ipairs { "coroutine", "testing", "repl", "ssl", "fs", "http", "redis", "distributed", "parsers",
    "compat", "compat.vim_async", "compat.copas" } do
    local page = {}
    add_block(page, modules["asyncio." .. module], "@module asyncio." .. module)
    for _, name in ipairs(house.sorted_keys(known)) do
      if name:find("^" .. module:match "[%w_]+$" .. "%.") then add_function(page, known, name) end
    end
    save(folder, "asyncio." .. module, page)
  end
end

--- A page for each class that a `@type` block describes.
local function write_classes(folder, known)
  local pages = {}
  for _, name in ipairs(house.sorted_keys(known)) do
    local block = known[name][1]
    if block and tag_of(block, "type") then
      pages[name] = {}
      add_block(pages[name], block, "@classmod " .. name)
      known[name] = {}
    end
  end
  for _, name in ipairs(house.sorted_keys(known)) do
    local page = pages[name:match "^(%u%w*):"]
    if page then add_function(page, known, name) end
  end
  for name, page in pairs(pages) do save(folder, name, page) end
end

--- What is public and was put nowhere.
local function homeless(known)
  local names = {}
  for _, name in ipairs(house.sorted_keys(known)) do
    if known[name][1] then names[#names + 1] = name end
  end
  return names
end

--- All sources, in order: Lua's, then C's.
local function all_sources()
  local files = house.files("lua/asyncio", "*.lua")
  return table.move(house.files("src", "*.c"), 1, 10000, #files + 1, files)
end

local folder = assert(arg[1], "usage: manual.lua FOLDER [FILE...]")
local known, modules = read_sources(arg[2] and { table.unpack(arg, 2) } or all_sources())
write_asyncio(folder, known, modules)
write_modules(folder, known, modules)
write_classes(folder, known)
local left = homeless(known)
if left[1] then error("on no page: " .. table.concat(left, ", "), 0) end
