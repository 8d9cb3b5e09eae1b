-- http-request lua.decide <url>: ask the gateway about the request, and let it pass with the identity that it answers.
-- Whatever goes wrong refuses: an error in here makes HAProxy answer 500.

local SENT = { -- everything a verdict depends on
    "authorization", "x-api-key", "cookie", "x-organization-id", "x-csrf-token", "origin", "sec-fetch-site",
    "sec-websocket-key", "access-control-request-method",
}
local RELAYED = { "content-type", "www-authenticate", "retry-after", "x-request-id" }

-- Whether a name is one of identity's, in whatever spelling: everything that is no letter or digit counts as "-".
local function is_identity(name)
    local folded = name:lower():gsub("[^a-z0-9]", "-")
    return folded:find("^x%-user%-") or folded:find("^x%-org%-") or folded:find("^x%-auth%-") or folded:find("^x%-identity")
end

-- Whether frameworks serve another path or method under a name, in whatever spelling, than the one decided on.
local function is_override(name)
    local folded = name:lower():gsub("[^a-z0-9]", "-")
    return folded:find("^x%-http%-method") or folded == "x-method-override" or folded:find("^x%-original%-")
        or folded:find("^x%-rewrite%-") or folded:find("^x%-envoy%-") or folded == "x-forwarded-prefix"
        or folded == "script-name" or folded == "x-script-name"
end

local function refuse(txn, status, answer)
    local reply = txn:reply({ status = status })
    for _, name in ipairs(RELAYED) do
        for _, value in pairs(answer and answer.headers[name] or {}) do
            reply:add_header(name, value)
        end
    end
    reply:set_body(answer and answer.body or '{"status":"error","message":"Try again shortly","data":null}')
    txn:done(reply)
end

core.register_action("decide", { "http-req" }, function(txn, url)
    local sent = txn.http:req_get_headers()
    local headers = {
        ["x-forwarded-method"] = { txn.sf:method() },
        ["x-forwarded-uri"] = { txn.sf:pathq() },
        ["x-forwarded-host"] = { txn.sf:req_hdr("host") },
        ["x-forwarded-for"] = { txn.sf:src() },
        ["x-forwarded-proto"] = { txn.sf:req_hdr("x-forwarded-proto") }, -- HAProxy's own: it is set before
    }
    for _, name in ipairs(SENT) do
        if sent[name] then
            headers[name] = {}
            for index, value in pairs(sent[name]) do -- all of them, from 0: two of a kind are the gateway's to refuse
                headers[name][index + 1] = value
            end
        end
    end
    local answer = core.httpclient():get({ url = url, headers = headers, timeout = 5000 })
    if not answer or not answer.status or answer.status == 0 then
        return refuse(txn, 503, nil)
    elseif answer.status ~= 200 then
        return refuse(txn, answer.status, answer)
    end
    for name in pairs(sent) do
        if is_identity(name) or is_override(name) then
            txn.http:req_del_header(name)
        end
    end
    local set = {}
    for name, values in pairs(answer.headers) do
        if is_identity(name) or name == "x-request-id" or name == "x-organization-id" then
            txn.http:req_set_header(name, values[0])
            set[name] = values[0]
        end
    end
    -- HAProxy says nothing where its buffer has no room for a header (tune.maxrewrite): the service would not see it.
    local forwarded = txn.http:req_get_headers()
    for name, value in pairs(set) do
        if not forwarded[name] or forwarded[name][0] ~= value then
            return refuse(txn, 503, nil)
        end
    end
end, 1)
