"""Names of header fields, of all sorts: registered ones, what browsers and caches obey, what sign-on proxies add."""

import random
import string


def names(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


#: What a browser keeps, or does, for more than the answer that says it; what a cache or a proxy in front obeys.
OF_ANSWERS = names("""
    Accept-CH Accept-CH-Lifetime Access-Control-Allow-Credentials Access-Control-Allow-Headers
    Access-Control-Allow-Methods Access-Control-Allow-Origin Access-Control-Allow-Private-Network
    Access-Control-Expose-Headers Access-Control-Max-Age Activate-Storage-Access Ad-Auction-Allowed Age
    Akamai-Cache-Status Alt-Svc Alt-Used Attribution-Reporting-Register-Source
    Attribution-Reporting-Register-Trigger Authentication-Info Available-Dictionary Cache-Status Cache-Tag
    CDN-Cache-Control CDN-Loop Clear-Site-Data Cloudflare-CDN-Cache-Control Content-Script-Type
    Content-Security-Policy Content-Security-Policy-Report-Only Content-Style-Type Critical-CH
    Cross-Origin-Embedder-Policy Cross-Origin-Embedder-Policy-Report-Only Cross-Origin-Opener-Policy
    Cross-Origin-Opener-Policy-Report-Only Cross-Origin-Resource-Policy Default-Style Delta-Base Device-Memory
    Dictionary-ID Document-Isolation-Policy Document-Policy Edge-Control Edge-Cache-Tag Expect-CT Expires
    Feature-Policy Getprofile Hobareg Host IM Include-Referred-Token-Binding-ID Integrity-Policy
    Integrity-Policy-Report-Only Keep-Alive Large-Allocation Link Login-Status Memento-Datetime Meter NEL
    No-Vary-Search Observe-Browsing-Topics Optional-WWW-Authenticate Origin-Agent-Cluster Origin-Trial P3P PEP
    Permissions-Policy Permissions-Policy-Report-Only Ping-From Pragma Proxy-Authenticate
    Proxy-Authentication-Info Proxy-Connection Proxy-Status Public Public-Key-Pins Public-Key-Pins-Report-Only
    Referrer-Policy Refresh Report-To Reporting-Endpoints Require-Document-Policy Sec-Session-Registration
    Sec-Session-Challenge Server-Timing Service-Worker-Allowed Service-Worker-Navigation-Preload Set-Cookie
    Set-Cookie2 Set-Login Shared-Storage-Write SourceMap Speculation-Rules Strict-Transport-Security
    Supports-Loading-Mode Surrogate-Capability Surrogate-Control Surrogate-Key Timing-Allow-Origin Tk Trailer
    Upgrade Use-As-Dictionary Variant-Vary Window-Target WWW-Authenticate X-Accel-Charset X-Accel-Expires
    X-Accel-Limit-Rate X-Accel-Redirect X-Cache X-Cache-Control X-Content-Security-Policy X-Content-Type-Options
    X-DNS-Prefetch-Control X-Download-Options X-Frame-Options X-Lighttpd-Send-File X-LiteSpeed-Cache-Control
    X-LiteSpeed-Location X-LiteSpeed-Tag X-Permitted-Cross-Domain-Policies X-Pingback X-Powered-By X-Reproxy-File
    X-Reproxy-URL X-Robots-Tag X-Sendfile X-SourceMap X-UA-Compatible X-Varnish-TTL X-WebKit-CSP X-XSS-Protection
    X-Its-Own
""")
#: Who somebody is, or what they sign in with, as proxies in front, load balancers, meshes and clients say it.
OF_USERS = names("""
    Authorization Proxy-Authorization Proxy-User Cookie Cookie2 From Forwarded Remote-User Remote-Email
    Remote-Name Remote-Groups REMOTE_USER X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups
    X-Forwarded-Preferred-Username X-Forwarded-Access-Token X-Forwarded-Id-Token X-Forwarded-Client-Cert
    X-Forwarded-Uri X-Forwarded-Method X-Forwarded-Port X-Forwarded-Server X-Auth-Request-User
    X-Auth-Request-Email X-Auth-Request-Groups X-Auth-Request-Preferred-Username X-Auth-Request-Access-Token
    X-Auth-Request-Redirect X-Amzn-Oidc-Accesstoken X-Amzn-Oidc-Data X-Amzn-Oidc-Identity X-Amzn-Trace-Id
    X-Amz-Security-Token Cf-Access-Jwt-Assertion Cf-Access-Authenticated-User-Email Cf-Access-Client-Id
    Cf-Access-Client-Secret CF-Connecting-IP True-Client-IP X-Goog-Iap-Jwt-Assertion
    X-Goog-Authenticated-User-Email X-Goog-Authenticated-User-Id X-Serverless-Authorization X-Ms-Client-Principal
    X-Ms-Client-Principal-Id X-Ms-Client-Principal-Name X-Ms-Token-Aad-Access-Token X-Ms-Token-Aad-Id-Token
    X-Ms-Token-Aad-Refresh-Token X-Authentik-Jwt X-Authentik-Username X-Authentik-Email X-Authentik-Groups
    X-Authentik-Uid X-Pomerium-Jwt-Assertion X-Pomerium-Claim-Email X-Vouch-User X-Vouch-Idp-Idtoken
    X-Vouch-Idp-Accesstoken X-Webauth-User X-Webauth-Email X-Tailscale-User-Login Tailscale-User-Login
    Tailscale-User-Name Tailscale-User-Profile-Pic X-Userinfo X-Access-Token X-Id-Token X-Refresh-Token
    X-Auth-Token X-Api-Key Api-Key X-User X-User-Id X-Username X-Email X-Groups X-Roles X-Consumer-Username
    X-Consumer-Custom-Id X-Credential-Identifier X-Jwt-Assertion X-Jwt-Payload X-Endpoint-API-UserInfo
    X-Ssl-Client-Cert X-Ssl-Client-S-Dn X-Client-Cert Client-Cert Client-Cert-Chain Ssl-Client-Cert X-Client-Dn
    X-Real-IP X-Original-Forwarded-For X-Original-Url X-Rewrite-Url X-Proxy-User X-Kubernetes-User
    Impersonate-User X-Remote-User X-Remote-Group X-Remote-Extra-Scopes X-Envoy-External-Address
    X-Vercel-Oidc-Token X-Openshift-User X-Gitlab-Token Private-Token X-Shield-Secret Baggage
    X-Http-Method-Override X-Its-Own Sec-Token-Binding Dpop Oscore Apply-To-Redirect-Ref
""")


def invented(number: int) -> list[str]:
    """Names that nobody has registered; the same each time."""
    chance = random.Random(number)
    letters = string.ascii_letters + string.digits + "-_"
    return [f"{chance.choice(string.ascii_letters)}{''.join(chance.choices(letters, k=12))}" for _ in range(number)]
