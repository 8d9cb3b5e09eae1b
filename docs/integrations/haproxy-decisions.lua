-- http-request lua.decide <url>: ask the gateway about the request, and let it pass with the identity that it answers.
-- Whatever goes wrong refuses: an error in here makes HAProxy answer 500.

local SENT = { -- everything a verdict depends on
    "authorization", "x-api-key", "cookie", "x-organization-id", "x-csrf-token", "origin", "sec-fetch-site",
    "sec-websocket-key", "access-control-request-method",
}
local RELAYED = { "content-type", "www-authenticate", "retry-after", "x-request-id" }

local IDENTITY = { "x-user-", "x-org-", "x-auth-", "x-identity" } -- how these names begin

-- Names under which a server or framework takes another path, method, host, address or caller than the ones that were
-- decided on, and by which a client would set the deadlines of proxies behind this one.
local CLAIMS = {}
for _, name in ipairs({
    "auth-type", "client-ip", "cluster-client-ip", "forwarded", "forwarded-for", "front-end-https", "gateway-interface",
    "http2-settings", "path-info", "path-translated", "proxy", "proxy-auth-cert", "proxy-client-ip", "proxy-ssl-id",
    "query-string", "request-method", "request-uri", "script-name", "true-client-ip", "x-accel-mapping", "x-client-ip",
    "x-cluster-client-ip", "x-forwarded", "x-host", "x-http-host-override", "x-matched-path", "x-now-route-matches",
    "x-originating-ip", "x-proxied-https", "x-proxyuser-ip", "x-real-ip", "x-scheme", "x-script-name",
    "x-sendfile-type", "x-traversal-path", "x-url-scheme",
}) do
    CLAIMS[name] = true
end
local CLAIMS_BEGIN = { -- "-ws" is $WS…, WebSphere's
    "-ws", "l5d-", "remote-", "server-", "wl-proxy-", "x-envoy-", "x-forwarded-", "x-http-method", "x-invoke-",
    "x-method-", "x-middleware-", "x-original-", "x-react-router-", "x-remote-", "x-rewrite-",
}
-- HAProxy has set these before it asks.
local OURS = { ["x-forwarded-for"] = true, ["x-forwarded-proto"] = true, ["x-forwarded-host"] = true, ["x-real-ip"] = true }

local function begins_with(name, beginnings)
    for _, beginning in ipairs(beginnings) do
        if name:sub(1, #beginning) == beginning then
            return true
        end
    end
    return false
end

-- Whether the client's lines of a name are removed, as the most careless server compares it: everything that is no
-- letter or digit counts as "-".
local function is_removed(name)
    local folded = name:lower():gsub("[^a-z0-9]", "-")
    return not OURS[name]
        and (CLAIMS[folded] or begins_with(folded, IDENTITY) or begins_with(folded, CLAIMS_BEGIN))
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
        ["x-forwarded-host"] = { txn.sf:req_fhdr("host") },
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
        if is_removed(name) then
            txn.http:req_del_header(name)
        end
    end
    local set = {}
    for name, values in pairs(answer.headers) do
        if begins_with(name, IDENTITY) or name == "x-request-id" or name == "x-organization-id" then
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
