"""The models that HCQ is compared with, on the same towers and at the same bytes: HCT, DT+JPQ, DT+DCMH."""
