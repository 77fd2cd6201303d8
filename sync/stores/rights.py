"""Which line of a policy each operation needs, by provider: the exact fix for "denied"."""

from __future__ import annotations

S3_LIKE = {
    "put": "s3:PutObject",
    "get": "s3:GetObject",
    "list": "s3:ListBucket (with the folder as s3:prefix)",
    "delete": "s3:DeleteObject",
    "copy": "s3:GetObject and s3:PutObject",
    "upload": "s3:PutObject",
    "list_parts": "s3:ListMultipartUploadParts",
    "abort": "s3:AbortMultipartUpload",
}
RIGHTS = {
    "oss": {
        "put": "oss:PutObject",
        "get": "oss:GetObject",
        "list": "oss:ListObjects (with the folder as oss:Prefix)",
        "delete": "oss:DeleteObject",
        "copy": "oss:GetObject and oss:PutObject",
        "upload": "oss:PutObject",
        "list_parts": "oss:ListParts",
        "abort": "oss:AbortMultipartUpload",
    },
    "obs": {
        "put": "obs:object:PutObject",
        "get": "obs:object:GetObject",
        "list": "obs:bucket:ListBucket (with the folder as obs:prefix)",
        "delete": "obs:object:DeleteObject",
        "copy": "obs:object:GetObject and obs:object:PutObject",
        "upload": "obs:object:PutObject",
        "list_parts": "obs:object:ListMultipartUploadParts",
        "abort": "obs:object:AbortMultipartUpload",
    },
    "cos": {
        "put": "name/cos:PutObject",
        "get": "name/cos:GetObject and name/cos:HeadObject",
        "list": "name/cos:GetBucket (with the folder as cos:prefix)",
        "delete": "name/cos:DeleteObject",
        "copy": "name/cos:GetObject and name/cos:PutObject",
        "upload": "name/cos:InitiateMultipartUpload, name/cos:UploadPart and name/cos:CompleteMultipartUpload",
        "list_parts": "name/cos:ListParts",
        "abort": "name/cos:AbortMultipartUpload",
    },
    "azure": {
        "put": "the SAS permissions c and w (create, write)",
        "get": "the SAS permission r (read)",
        "list": "the SAS permission l (list)",
        "delete": "the SAS permission d (delete)",
        "copy": "the SAS permissions r and w (read, write)",
        "upload": "the SAS permission w (write)",
        "list_parts": "the SAS permission r (read)",
        "abort": "nothing: unfinished blocks vanish after a week",
    },
    "gcs": {
        "put": "storage.objects.create, and storage.objects.delete to replace",
        "get": "storage.objects.get",
        "list": "storage.objects.list",
        "delete": "storage.objects.delete",
        "copy": "storage.objects.get and storage.objects.create",
        "upload": "storage.objects.create",
        "list_parts": "storage.objects.list",
        "abort": "storage.objects.delete",
    },
    "file": dict.fromkeys(S3_LIKE, "write permission on the folder for this user"),
}


def right_for(provider: str, operation: str) -> str:
    """What to add to the policy so that `operation` works."""
    return RIGHTS.get(provider, S3_LIKE).get(operation, operation)
